"""Apache Kafka (KRaft, one broker) from Maven Central, on loopback."""

import shutil
import socket
import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path

from deploy.parts.cache import cached
from deploy.parts.process import Daemon, PartFailed, free_port

HERE = Path(__file__).parent / "kafka_build"
VERSION = "4.4.0"


def kafka_jars() -> Path:
    """The folder of the broker's jars; fetched by Maven the first time."""
    return cached("kafka", VERSION, _fetch)


def _fetch(folder: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise PartFailed("mvn is not installed: Kafka's jars come from Maven Central")
    goal = "dependency:copy-dependencies"
    command = [maven, "-q", "-B", "-f", str(HERE / "pom.xml"), goal, f"-DoutputDirectory={folder}"]
    subprocess.run(command, check=True)


class KafkaBroker:
    """A broker with data under `folder`; `bootstrap` is its address."""

    def __init__(self, folder: Path, *, heap_mb: int = 384) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._jars = kafka_jars()
        self.port, controller = free_port(), free_port()
        self.bootstrap = f"127.0.0.1:{self.port}"
        settings = folder / "server.properties"
        settings.write_text(_properties(self.port, controller))
        self._format(settings)
        java = ["java", f"-Xmx{heap_mb}m", f"-Xms{heap_mb}m", "-XX:+UseG1GC"]
        # The broker unpacks native libraries into its temporary folder; a kill would leave them.
        options = [
            f"-Djava.io.tmpdir={folder}",
            f"-Dlog4j2.configurationFile={HERE / 'log4j2.yaml'}",
        ]
        self.daemon = Daemon(
            [*java, *options, "-cp", f"{self._jars}/*", "kafka.Kafka", settings],
            log=folder / "server.log",
            cwd=folder,
        )
        self.await_ready()

    def _format(self, settings: Path) -> None:
        if (self._folder / "data").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        tool = ["java", "-Xmx128m", "-cp", f"{self._jars}/*", "kafka.tools.StorageTool"]
        done = subprocess.run(
            # One word: an id may begin with a dash.
            [*tool, "format", f"--cluster-id={cluster}", "-c", str(settings)],
            cwd=self._folder,
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise PartFailed(f"kafka format failed: {done.stdout[-2000:]}{done.stderr[-2000:]}")

    def await_ready(self, timeout_s: float = 120.0) -> None:
        """Wait until the broker accepts connections and says that it has started."""
        self.daemon.await_ready(self._answers, timeout_s=timeout_s)

    def _answers(self) -> bool:
        with socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True

    def kill(self) -> None:
        """End the broker as a crash would; its data stays."""
        self.daemon.kill()

    def restart(self) -> None:
        """Start a killed broker again on its data and wait until it answers."""
        self.daemon.restart()
        self.await_ready()

    def stop(self) -> None:
        """Stop in good order."""
        self.daemon.stop()


def _properties(port: int, controller_port: int) -> str:
    # Replication factors of 1: with one broker, groups and transactions would wait for ever.
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=2
log.segment.bytes=67108864
log.retention.bytes=536870912
log.cleaner.dedupe.buffer.size=8388608
message.max.bytes=4194304
replica.fetch.max.bytes=4194304
"""
