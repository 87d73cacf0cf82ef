"""An S3 server in this process that can be stopped and restarted without losing its objects."""

import logging
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.request import Request, urlopen

BUCKET = "scribbles"
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass
class ObjectStore:
    port: int = 0
    server: object = field(default=None, repr=False)

    def start(self):
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]

    def stop(self):
        self.server.stop()

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.port}"

    def url(self, prefix, bucket=BUCKET):
        return f"s3://{bucket}/{prefix}?endpoint_override={self.endpoint}"

    def make_bucket(self):
        """Make an empty bucket; what an earlier server of this process had is gone."""
        self.empty()
        self._backend.create_bucket(BUCKET, "us-east-1")

    def names(self, prefix=""):
        return sorted(name for name in self._keys if name.startswith(prefix) and not name.endswith("/"))

    def read(self, name):
        return self._keys[name].value

    def age(self, name, seconds):
        """Make the object look as if it was written this many seconds earlier."""
        key = self._keys[name]
        key.last_modified -= timedelta(seconds=seconds)

    def empty(self):
        self._backend.reset()

    @contextmanager
    def checking_keys(self):
        """Refuse every access key."""
        self._refuse_keys_after("0")
        yield
        self._refuse_keys_after("inf")

    def _refuse_keys_after(self, requests):
        request = Request(f"{self.endpoint}/moto-api/reset-auth", requests.encode(), {"Content-Type": "text/plain"})
        with urlopen(request) as response:
            assert response.status == 200

    @property
    def _keys(self):
        return self._backend.buckets[BUCKET].keys

    @property
    def _backend(self):
        from moto.backends import get_backend
        from moto.core import DEFAULT_ACCOUNT_ID

        return get_backend("s3")[DEFAULT_ACCOUNT_ID]["aws"]
