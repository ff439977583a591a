"""Every bound, timeout and default of the service, with its name, type and meaning.

Groups of settings are a file each; `ServiceConfig` is all of them, `load_config` reads them.
"""

from service.config.loading import CONFIG_FILE_VARIABLE, ENV_PREFIX, load_config, model_folder, store_folder
from service.config.settings import ServiceConfig

__all__ = ["CONFIG_FILE_VARIABLE", "ENV_PREFIX", "ServiceConfig", "load_config", "model_folder", "store_folder"]
