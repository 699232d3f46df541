from cilium_core.proto import flow_pb2 as _flow_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Batch(_message.Message):
    __slots__ = ("number", "records", "lost")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    number: int
    records: _containers.RepeatedCompositeFieldContainer[Record]
    lost: int
    def __init__(self, number: _Optional[int] = ..., records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ..., lost: _Optional[int] = ...) -> None: ...

class Taken(_message.Message):
    __slots__ = ("number",)
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    number: int
    def __init__(self, number: _Optional[int] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("time_ns", "source", "source_port", "destination", "destination_port", "direction", "proxy_port", "verdict", "l7", "request_id", "trace_id", "protocol", "origins")
    TIME_NS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_PORT_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_PORT_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    PROXY_PORT_FIELD_NUMBER: _ClassVar[int]
    VERDICT_FIELD_NUMBER: _ClassVar[int]
    L7_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    TRACE_ID_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    ORIGINS_FIELD_NUMBER: _ClassVar[int]
    time_ns: int
    source: str
    source_port: int
    destination: str
    destination_port: int
    direction: int
    proxy_port: int
    verdict: _flow_pb2.Verdict
    l7: _flow_pb2.Layer7
    request_id: str
    trace_id: str
    protocol: int
    origins: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, time_ns: _Optional[int] = ..., source: _Optional[str] = ..., source_port: _Optional[int] = ..., destination: _Optional[str] = ..., destination_port: _Optional[int] = ..., direction: _Optional[int] = ..., proxy_port: _Optional[int] = ..., verdict: _Optional[_Union[_flow_pb2.Verdict, str]] = ..., l7: _Optional[_Union[_flow_pb2.Layer7, _Mapping]] = ..., request_id: _Optional[str] = ..., trace_id: _Optional[str] = ..., protocol: _Optional[int] = ..., origins: _Optional[_Iterable[str]] = ...) -> None: ...
