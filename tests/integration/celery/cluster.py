"""The cluster under test: pytest-celery's setup, with the words of the project."""

import uuid
from typing import Any

from celery import Celery
from kombu import Connection, pools
from pytest_celery import CeleryTestSetup, CeleryTestWorker

from orchestrator.broker import connection, monitor
from orchestrator.core import pokes

ACCOUNTS = [pokes.MAINTENANCE, *map(pokes.account, ("a", "b", "lonely"))]


class Cluster(CeleryTestSetup):
    """A broker without result backend, and the workers of organizations."""

    @classmethod
    def create_setup_app(cls, celery_setup_config: dict[str, Any], celery_setup_app_name: str) -> Celery:
        """Return the app of the test, which looks at all workers; it does not become the current one of the process."""
        app = Celery(celery_setup_app_name, set_as_current=False)
        app.config_from_object(celery_setup_config)
        app.conf.update(monitor.settings(app.conf.broker_url, ACCOUNTS))
        return app

    def worker_of(self, organization: str) -> CeleryTestWorker:
        """Return the node of an organization's worker."""
        (worker,) = (node for node in self.worker_cluster if node.worker_name == organization)
        return worker

    def connection(self) -> Connection:
        """Return a connection to the broker, to be closed by the caller."""
        return self.app.connection_for_write()

    def sweep(self, name: str) -> str:
        """Fire a sweep, as beat does; return the id of the message."""
        url = self.app.conf.broker_url
        return self._send(connection.settings(url, pokes.MAINTENANCE), pokes.MAINTENANCE, name)

    def poke(self, organization: str, name: str, *, serializer: str = "json", **arguments: object) -> str:
        """Send a message to an organization's queue, as the relay does; return its id.

        Args:
            organization: its id.
            name: of the Celery task.
            serializer: of the arguments.
            arguments: of the Celery task.
        """
        settings = connection.queue(self.app.conf.broker_url, pokes.queue(organization))
        return self._send(settings, pokes.queue(organization), name, serializer=serializer, kwargs=arguments)

    @staticmethod
    def _send(settings: dict[str, Any], queue: str, name: str, **options: Any) -> str:
        with Celery("sender", set_as_current=False) as app:
            app.conf.update(settings)
            with app.connection_for_write() as to:
                sent = app.send_task(name, queue=queue, connection=to, ignore_result=True, **options)
        return str(sent.id)

    def poke_in_vain(self, organization: str) -> str:
        """Poke an organization with a task that nobody knows; return what its worker logs when it is refused."""
        task = str(uuid.uuid4())
        self.poke(organization, pokes.RUN_TASK, task=task, attempt=1)
        return f'"task": "{task}", "attempt": 1, "reason": "OE0002: task {task} does not exist"'

    def inspect(self, question: str, timeout: float = 30.0) -> dict[str, Any]:
        """Return the answer of each worker's node to a question of Celery's remote control.

        Args:
            question: as in `registered`.
            timeout: seconds to wait for the last answer.
        """
        with self.connection() as asking:
            nodes = [worker.container.node for worker in self.worker_cluster]
            inspect = self.app.control.inspect(nodes, timeout=timeout, connection=asking, limit=len(nodes))
            return getattr(inspect, question)() or {}

    def teardown(self) -> None:
        """Close the app's connections, and print the logs, which pytest shows of tests that fail."""
        # Kombu's pools outlive the app.
        pools.reset()
        self.app.close()
        for cluster in (self.broker_cluster, self.worker_cluster):
            for node in cluster:
                print(f"--- {node.name()}\n{node.logs()}")
