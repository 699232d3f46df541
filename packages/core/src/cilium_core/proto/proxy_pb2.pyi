from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    HTTP: _ClassVar[Kind]
    DNS: _ClassVar[Kind]
    KAFKA: _ClassVar[Kind]
    SNI: _ClassVar[Kind]
KIND_UNSPECIFIED: Kind
HTTP: Kind
DNS: Kind
KAFKA: Kind
SNI: Kind

class Report(_message.Message):
    __slots__ = ("serves", "results")
    SERVES_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    serves: _containers.RepeatedScalarFieldContainer[Kind]
    results: _containers.RepeatedCompositeFieldContainer[Result]
    def __init__(self, serves: _Optional[_Iterable[_Union[Kind, str]]] = ..., results: _Optional[_Iterable[_Union[Result, _Mapping]]] = ...) -> None: ...

class Result(_message.Message):
    __slots__ = ("port", "revision", "error")
    PORT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    port: int
    revision: int
    error: str
    def __init__(self, port: _Optional[int] = ..., revision: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...

class Update(_message.Message):
    __slots__ = ("snapshot", "complete", "rule_sets")
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    RULE_SETS_FIELD_NUMBER: _ClassVar[int]
    snapshot: bool
    complete: bool
    rule_sets: _containers.RepeatedCompositeFieldContainer[RuleSet]
    def __init__(self, snapshot: _Optional[bool] = ..., complete: _Optional[bool] = ..., rule_sets: _Optional[_Iterable[_Union[RuleSet, _Mapping]]] = ...) -> None: ...

class RuleSet(_message.Message):
    __slots__ = ("port", "revision", "removed", "name", "direction", "kind", "rules", "everything", "origins")
    PORT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REMOVED_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    RULES_FIELD_NUMBER: _ClassVar[int]
    EVERYTHING_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    port: int
    revision: int
    removed: bool
    name: str
    direction: int
    kind: Kind
    rules: _containers.RepeatedCompositeFieldContainer[Rule]
    everything: bool
    origins: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, port: _Optional[int] = ..., revision: _Optional[int] = ..., removed: _Optional[bool] = ..., name: _Optional[str] = ..., direction: _Optional[int] = ..., kind: _Optional[_Union[Kind, str]] = ..., rules: _Optional[_Iterable[_Union[Rule, _Mapping]]] = ..., everything: _Optional[bool] = ..., origins: _Optional[_Iterable[str]] = ...) -> None: ...

class Rule(_message.Message):
    __slots__ = ("http", "dns", "kafka", "server_name")
    HTTP_FIELD_NUMBER: _ClassVar[int]
    DNS_FIELD_NUMBER: _ClassVar[int]
    KAFKA_FIELD_NUMBER: _ClassVar[int]
    SERVER_NAME_FIELD_NUMBER: _ClassVar[int]
    http: HttpRule
    dns: DnsRule
    kafka: KafkaRule
    server_name: str
    def __init__(self, http: _Optional[_Union[HttpRule, _Mapping]] = ..., dns: _Optional[_Union[DnsRule, _Mapping]] = ..., kafka: _Optional[_Union[KafkaRule, _Mapping]] = ..., server_name: _Optional[str] = ...) -> None: ...

class HttpRule(_message.Message):
    __slots__ = ("method", "path", "host", "headers", "header_matches")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    HEADER_MATCHES_FIELD_NUMBER: _ClassVar[int]
    method: str
    path: str
    host: str
    headers: _containers.RepeatedScalarFieldContainer[str]
    header_matches: _containers.RepeatedCompositeFieldContainer[HeaderMatch]
    def __init__(self, method: _Optional[str] = ..., path: _Optional[str] = ..., host: _Optional[str] = ..., headers: _Optional[_Iterable[str]] = ..., header_matches: _Optional[_Iterable[_Union[HeaderMatch, _Mapping]]] = ...) -> None: ...

class HeaderMatch(_message.Message):
    __slots__ = ("name", "value", "mismatch", "secret")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MISMATCH_FIELD_NUMBER: _ClassVar[int]
    SECRET_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    mismatch: str
    secret: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ..., mismatch: _Optional[str] = ..., secret: _Optional[str] = ...) -> None: ...

class DnsRule(_message.Message):
    __slots__ = ("match_name", "match_pattern")
    MATCH_NAME_FIELD_NUMBER: _ClassVar[int]
    MATCH_PATTERN_FIELD_NUMBER: _ClassVar[int]
    match_name: str
    match_pattern: str
    def __init__(self, match_name: _Optional[str] = ..., match_pattern: _Optional[str] = ...) -> None: ...

class KafkaRule(_message.Message):
    __slots__ = ("role", "api_key", "api_version", "client_id", "topic")
    ROLE_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    API_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    role: str
    api_key: str
    api_version: str
    client_id: str
    topic: str
    def __init__(self, role: _Optional[str] = ..., api_key: _Optional[str] = ..., api_version: _Optional[str] = ..., client_id: _Optional[str] = ..., topic: _Optional[str] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("client", "name", "addresses", "ttl_seconds", "number")
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESSES_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    client: str
    name: str
    addresses: _containers.RepeatedScalarFieldContainer[str]
    ttl_seconds: int
    number: int
    def __init__(self, client: _Optional[str] = ..., name: _Optional[str] = ..., addresses: _Optional[_Iterable[str]] = ..., ttl_seconds: _Optional[int] = ..., number: _Optional[int] = ...) -> None: ...

class Learned(_message.Message):
    __slots__ = ("selected", "number", "error")
    SELECTED_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    selected: bool
    number: int
    error: str
    def __init__(self, selected: _Optional[bool] = ..., number: _Optional[int] = ..., error: _Optional[str] = ...) -> None: ...
