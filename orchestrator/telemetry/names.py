"""What spans and their attributes are called: OpenTelemetry's semantic conventions, and names of our own beside them.

They are written here and nowhere else, as constants, since whoever is not traced imports nothing of OpenTelemetry. No
attribute holds a token, a checksum, the path or the address of an asset, or words of a function.
"""

from urllib.parse import urlsplit

RPC_SYSTEM = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_STATUS = "rpc.response.status_code"
GRPC = "grpc"

HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
HTTP_PORTS = {"http": 80, "https": 443}

SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

MESSAGING_SYSTEM = "messaging.system"
MESSAGING_DESTINATION = "messaging.destination.name"
MESSAGING_OPERATION = "messaging.operation.name"
MESSAGING_OPERATION_TYPE = "messaging.operation.type"
SEND, PROCESS = "send", "process"
REDIS, RABBITMQ = "redis", "rabbitmq"

ERROR_TYPE = "error.type"

SERVICE = "service.name"
SERVICE_NAMESPACE = "service.namespace"
SERVICE_VERSION = "service.version"
SERVICE_INSTANCE = "service.instance.id"
NAMESPACE = "orchestrator"

ORGANIZATION = "orchestrator.organization"
TASK = "orchestrator.task.key"
FUNCTION = "orchestrator.function.key"
ATTEMPT = "orchestrator.task.attempt"

PERIODIC = frozenset(
    {
        f"{NAMESPACE}.WorkerService/Heartbeat",
        f"{NAMESPACE}.ModuleService/ReportModule",
        f"{NAMESPACE}.ExecutionService/BeginLook",
        f"{NAMESPACE}.ExecutionService/EndLook",
    }
)
"""The methods that are called again and again, whatever happens: no part of anything, and without spans."""

TRACE_ID, SPAN_ID = "trace_id", "span_id"
"""In a line of the log: the span in which it was written."""


def messaging(operation: str, queue: str, *, on_redis: bool) -> dict[str, str | int]:
    """Return the attributes of what is done with a message.

    Args:
        operation: `SEND` or `PROCESS`.
        queue: where it goes to, or comes from.
        on_redis: whether its broker is a Redis or a Valkey, rather than a RabbitMQ.
    """
    return {
        MESSAGING_SYSTEM: REDIS if on_redis else RABBITMQ,
        MESSAGING_DESTINATION: queue,
        MESSAGING_OPERATION: operation,
        MESSAGING_OPERATION_TYPE: operation,
    }


def request(method: str, address: str) -> dict[str, str | int]:
    """Return the attributes of a request to somebody else's HTTP, without the path of what is asked for.

    Args:
        method: of HTTP.
        address: the URL.
    """
    parts = urlsplit(address)
    standard = HTTP_PORTS.get(parts.scheme, 443)
    try:
        port = parts.port or standard
    except ValueError:
        port = standard
    return {HTTP_METHOD: method, SERVER_ADDRESS: parts.hostname or "", SERVER_PORT: port}
