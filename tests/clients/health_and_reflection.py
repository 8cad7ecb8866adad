"""The standard health and reflection clients: pip install grpcio-health-checking grpcio-reflection.

Needs a server on the shipped models; MAAS_GRPC is its address.
"""

import os

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

channel = grpc.insecure_channel(os.environ.get("MAAS_GRPC", "127.0.0.1:9000"))
health = health_pb2_grpc.HealthStub(channel)
SERVING = health_pb2.HealthCheckResponse.SERVING

# As a Kubernetes probe asks: the server, its service, and a model.
for service in ["", "inference.GRPCInferenceService", "fashion"]:
    assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING
try:
    health.Check(health_pb2.HealthCheckRequest(service="nothing"))
    raise AssertionError("not refused")
except grpc.RpcError as error:
    assert error.code() == grpc.StatusCode.NOT_FOUND
watching = health.Watch(health_pb2.HealthCheckRequest(service="kjv"), timeout=20)
assert next(watching).status == SERVING
watching.cancel()

# What tools such as grpcurl read.
database = ProtoReflectionDescriptorDatabase(channel)
assert "inference.GRPCInferenceService" in database.get_services()
service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
assert service.FindMethodByName("ModelInfer") is not None

print("grpc health and reflection: passed")
