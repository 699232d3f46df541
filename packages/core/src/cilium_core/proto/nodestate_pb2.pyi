from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WatchRequest(_message.Message):
    __slots__ = ("epoch", "revision")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    epoch: str
    revision: int
    def __init__(self, epoch: _Optional[str] = ..., revision: _Optional[int] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("epoch", "revision", "kind", "changes")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DELTA: _ClassVar[Update.Kind]
        SNAPSHOT: _ClassVar[Update.Kind]
        SNAPSHOT_END: _ClassVar[Update.Kind]
    DELTA: Update.Kind
    SNAPSHOT: Update.Kind
    SNAPSHOT_END: Update.Kind
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    epoch: str
    revision: int
    kind: Update.Kind
    changes: _containers.RepeatedCompositeFieldContainer[Change]
    def __init__(self, epoch: _Optional[str] = ..., revision: _Optional[int] = ..., kind: _Optional[_Union[Update.Kind, str]] = ..., changes: _Optional[_Iterable[_Union[Change, _Mapping]]] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("node", "endpoint", "identity", "prefix", "service", "policy", "cluster_node", "removed")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ENDPOINT_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    SERVICE_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_NODE_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    node: Node
    endpoint: Endpoint
    identity: Identity
    prefix: Prefix
    service: Service
    policy: Policy
    cluster_node: ClusterNode
    removed: bool
    def __init__(self, node: _Optional[_Union[Node, _Mapping]] = ..., endpoint: _Optional[_Union[Endpoint, _Mapping]] = ..., identity: _Optional[_Union[Identity, _Mapping]] = ..., prefix: _Optional[_Union[Prefix, _Mapping]] = ..., service: _Optional[_Union[Service, _Mapping]] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., cluster_node: _Optional[_Union[ClusterNode, _Mapping]] = ..., removed: _Optional[bool] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("name", "cluster", "labels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    cluster: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., cluster: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class ClusterNode(_message.Message):
    __slots__ = ("name", "address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ...) -> None: ...

class Endpoint(_message.Message):
    __slots__ = ("id", "namespace", "pod", "identity", "labels", "addresses", "workload")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    id: int
    namespace: str
    pod: str
    identity: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    addresses: _containers.RepeatedScalarFieldContainer[str]
    workload: Workload
    def __init__(self, id: _Optional[int] = ..., namespace: _Optional[str] = ..., pod: _Optional[str] = ..., identity: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ..., addresses: _Optional[_Iterable[str]] = ..., workload: _Optional[_Union[Workload, _Mapping]] = ...) -> None: ...

class Workload(_message.Message):
    __slots__ = ("kind", "name")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    kind: str
    name: str
    def __init__(self, kind: _Optional[str] = ..., name: _Optional[str] = ...) -> None: ...

class Identity(_message.Message):
    __slots__ = ("id", "labels")
    ID_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    id: int
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[int] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class Prefix(_message.Message):
    __slots__ = ("prefix", "identity", "namespace", "pod", "workload")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    POD_FIELD_NUMBER: _ClassVar[int]
    WORKLOAD_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    identity: int
    namespace: str
    pod: str
    workload: Workload
    def __init__(self, prefix: _Optional[str] = ..., identity: _Optional[int] = ..., namespace: _Optional[str] = ..., pod: _Optional[str] = ..., workload: _Optional[_Union[Workload, _Mapping]] = ...) -> None: ...

class Service(_message.Message):
    __slots__ = ("id", "namespace", "name", "frontends")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FRONTENDS_FIELD_NUMBER: _ClassVar[int]
    id: int
    namespace: str
    name: str
    frontends: _containers.RepeatedCompositeFieldContainer[Frontend]
    def __init__(self, id: _Optional[int] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., frontends: _Optional[_Iterable[_Union[Frontend, _Mapping]]] = ...) -> None: ...

class Frontend(_message.Message):
    __slots__ = ("address", "port", "protocol")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PORT_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    address: str
    port: int
    protocol: int
    def __init__(self, address: _Optional[str] = ..., port: _Optional[int] = ..., protocol: _Optional[int] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("number", "revision", "rules")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    number: int
    revision: int
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    def __init__(self, number: _Optional[int] = ..., revision: _Optional[int] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("direction", "deny", "ports", "any_peer", "peers", "origin")
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    DENY_FIELD_NUMBER: _ClassVar[int]
    PORTS_FIELD_NUMBER: _ClassVar[int]
    ANY_PEER_FIELD_NUMBER: _ClassVar[int]
    PEERS_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_FIELD_NUMBER: _ClassVar[int]
    direction: int
    deny: bool
    ports: _containers.RepeatedCompositeFieldContainer[Ports]
    any_peer: bool
    peers: _containers.RepeatedCompositeFieldContainer[PeerBits]
    origin: Origin
    def __init__(self, direction: _Optional[int] = ..., deny: _Optional[bool] = ..., ports: _Optional[_Iterable[_Union[Ports, _Mapping]]] = ..., any_peer: _Optional[bool] = ..., peers: _Optional[_Iterable[_Union[PeerBits, _Mapping]]] = ..., origin: _Optional[_Union[Origin, _Mapping]] = ...) -> None: ...

class Ports(_message.Message):
    __slots__ = ("protocol", "first", "last")
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    protocol: int
    first: int
    last: int
    def __init__(self, protocol: _Optional[int] = ..., first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class PeerBits(_message.Message):
    __slots__ = ("word", "mask")
    WORD_FIELD_NUMBER: _ClassVar[int]
    MASK_FIELD_NUMBER: _ClassVar[int]
    word: int
    mask: int
    def __init__(self, word: _Optional[int] = ..., mask: _Optional[int] = ...) -> None: ...

class Origin(_message.Message):
    __slots__ = ("kind", "namespace", "name", "field")
    KIND_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    kind: str
    namespace: str
    name: str
    field: str
    def __init__(self, kind: _Optional[str] = ..., namespace: _Optional[str] = ..., name: _Optional[str] = ..., field: _Optional[str] = ...) -> None: ...
