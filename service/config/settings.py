"""All settings of the service in one value.

It knows nothing of what they are used for. Invariant: a name is in one group only, and every group is here.
"""

from pydantic import ConfigDict

from service.config.access import Access
from service.config.cluster import Cluster
from service.config.engine import Engine
from service.config.gpu import Gpu
from service.config.hooks import Hooks
from service.config.jobs import Jobs
from service.config.limits import Limits
from service.config.listening import Listening
from service.config.observing import Observing
from service.config.outbound import Outbound
from service.config.reception import Reception
from service.config.sessions import Sessions
from service.config.speed import Speed
from service.config.storage import Storage
from service.config.timeouts import Timeouts
from service.config.videos import Videos
from service.config.worker import Worker


class ServiceConfig(
    Observing,
    Cluster,
    Outbound,
    Hooks,
    Videos,
    Jobs,
    Gpu,
    Worker,
    Storage,
    Timeouts,
    Limits,
    Reception,
    Sessions,
    Speed,
    Engine,
    Access,
    Listening,
):
    """The settings. Times are in seconds, sizes in bytes. `ServiceConfig()` is the defaults, whatever the
    environment holds; `load_config` looks at flags, environment and file. Fields come from the last base first.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @property
    def hands_over(self) -> bool:
        """Sessions go on elsewhere when this server shuts down."""
        return self.drain_handover == "always" or (self.drain_handover == "shared" and self.store_url is not None)
