"""Faults of GPUs as NVIDIA's management library reports them.

The only file that knows pynvml (the package nvidia-ml-py), which is imported when it is used: machines without a GPU
need none. Invariant: a GPU that is lost is told of once, as its own fault, and watched no longer.
"""

import logging
import time
from typing import Any

from service.gpu.events import GpuEvent, GpuEvents
from service.gpu.policy import LOST

logger = logging.getLogger(__name__)


def open_nvml() -> GpuEvents | None:
    """The events of every GPU that this process sees; None, with the reason in the log, where there is none."""
    try:
        import pynvml
    except ImportError:
        logger.info("GPU faults are not watched: the package nvidia-ml-py is not installed")
        return None
    try:
        pynvml.nvmlInit()
        return NvmlEvents(pynvml)
    except pynvml.NVMLError as error:
        logger.info("GPU faults are not watched: %s", error)
        return None


class NvmlEvents:
    """`library` is the module pynvml, or what stands for it. Raises its NVMLError."""

    def __init__(self, library: Any) -> None:
        # The package has no types: what is used of it is written out in tests/service/gpu/fake_nvml.py.
        self._nvml = library
        self._set = self._nvml.nvmlEventSetCreate()
        self._handles: dict[str, Any] = {}
        kinds = self._nvml.nvmlEventTypeXidCriticalError
        for index in range(self._nvml.nvmlDeviceGetCount()):
            handle = self._nvml.nvmlDeviceGetHandleByIndex(index)
            self._handles[str(self._nvml.nvmlDeviceGetUUID(handle))] = handle
            self._nvml.nvmlDeviceRegisterEvents(handle, kinds, self._set)

    def wait(self, seconds: float) -> GpuEvent | None:
        try:
            data = self._nvml.nvmlEventSetWait_v2(self._set, round(seconds * 1000))
        except self._nvml.NVMLError_Timeout:
            return self._lost()
        except self._nvml.NVMLError:
            found = self._lost()
            if found is None:
                time.sleep(seconds)  # or a library that fails at once would be asked without a pause
            return found
        return GpuEvent(str(self._nvml.nvmlDeviceGetUUID(data.device)), int(data.eventData))

    def close(self) -> None:
        self._nvml.nvmlEventSetFree(self._set)
        self._nvml.nvmlShutdown()

    def _lost(self) -> GpuEvent | None:
        """A GPU that does not answer any more: it may not have said so itself."""
        for gpu, handle in self._handles.items():
            try:
                self._nvml.nvmlDeviceGetUUID(handle)
            except self._nvml.NVMLError_GpuIsLost:
                del self._handles[gpu]
                return GpuEvent(gpu, LOST)
        return None
