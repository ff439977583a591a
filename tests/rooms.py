"""The rooms of the product and what each may import: the one table of it.

Knows names only; tests/import_rules.py knows what they mean. A room is listed with all that its files may import
besides the standard library.
"""

from tests.import_rules import Room, room

WIRE = "service.protocol service.errors"
# Imports point one way: client -> protocol <- api -> ipc <- worker -> models -> cache.
ROOMS: tuple[Room, ...] = (
    room("cache", "cache torch"),
    room("cache.window"),
    room("models", "models cache torch numpy safetensors", never="models.train"),
    room("models.attention", "models cache torch xformers flash_attn_interface", never="models.train"),
    # The one file with kernels: it is read on GPU machines only.
    room("models.kernels.triton_forms", "models torch triton", never="models.train"),
    # What reads files of other makers is one file each, so that the rest of the room needs none of these packages.
    room("models.picture", "models numpy PIL"),
    room("models.clip", "models numpy PIL av"),
    room("models.tokenizer", "models tokenizers ftfy"),
    room("models.quantize", "models torch torchao", never="models.train"),
    room("models.pieces", "models torch tokenizers", never="models.train"),
    room("models.transport", "models huggingface_hub httpx2"),
    room("models.umt5", "models torch transformers", never="models.train"),
    room("models.wan_vae", "models torch diffusers", never="models.train"),
    room("models.train", "models cache torch numpy safetensors PIL tqdm"),
    # Plots are an extra: the one file that knows its package, so that all else runs without it.
    room("models.train.eval.plots", "models matplotlib"),
    room("service"),
    room("service.errors", "service.errors"),
    room("service.protocol", f"{WIRE} pydantic pydantic_core"),
    room("service.store.migrations", "alembic sqlalchemy"),
    room("service.config", "service.config service.errors pydantic"),
    room("service.ipc", "service.ipc service.errors msgspec"),
    room("service.latent_files", "service.errors"),
    # What H.264 and MP4 ask for, for all who write or read them: worker, jobs and client.
    room("service.media", "service.media av numpy"),
    room("service.store", "service.store service.latent_files service.errors sqlalchemy alembic psycopg"),
    # What the worker says as what the store keeps, for sessions and jobs alike.
    room("service.chunk_rows", "service.ipc service.store"),
    # Who asks and what it may: keys are rows of the store; the web framework is the API's affair.
    room("service.access", "service.access service.config service.errors service.store sqlalchemy"),
    # Batch jobs: rows and files, and the sessions of the worker that make them; the web framework is the API's affair.
    room(
        "service.jobs",
        "service.jobs service.access service.store service.chunk_rows service.config service.errors service.ipc"
        " service.media sqlalchemy av PIL numpy",
    ),
    # What looks at prompts: texts and settings; what it is asked by is the API's affair.
    room("service.hooks", "service.hooks service.config service.errors"),
    # Decoders of strangers' files run in a process of their own, which only this room starts.
    room("service.uploads", "service.uploads service.errors"),
    room("service.uploads.judging", "service.uploads PIL av"),
    # The way out to other machines, in one place, so that nothing else connects anywhere a client said.
    room("service.outbound", "service.outbound service.config service.errors h11"),
    # The interface as documents: the wire's own models, and JSON.
    room("service.documents", f"{WIRE} service.documents pydantic"),
    # The log is the standard library's. The one file that knows OpenTelemetry is imported where traces are wanted.
    room("service.telemetry", "service.telemetry service.errors"),
    room("service.telemetry.otel", "service.telemetry opentelemetry"),
    room("service.channel", "service.ipc service.errors msgspec zmq"),
    room(
        "service.api",
        f"{WIRE} service.api service.access service.telemetry service.documents service.config service.ipc"
        " service.channel service.store service.chunk_rows service.jobs service.hooks service.outbound service.uploads"
        " service.latent_files fastapi starlette python_multipart pydantic"
        " pydantic_core uvicorn h11 websockets prometheus_client",
    ),
    room(
        "service.worker",
        "service.worker service.errors service.telemetry service.config service.ipc service.channel"
        " service.latent_files service.media models cache torch numpy PIL msgspec",
        never="models.train asyncio",
    ),
    room(
        "service.supervisor",
        "service.api.worker_link service.worker.settings service.config service.ipc service.channel",
    ),
    room("service.crew", "service.supervisor service.api.worker_client service.config"),
    # What knows NVIDIA's management library is one file, which imports it when it is used.
    room("service.gpu", "service.gpu"),
    room("service.gpu.nvml", "service.gpu pynvml"),
    # The only room that knows Ray, which is an extra.
    room(
        "service.cluster",
        "service.cluster service.api service.config service.errors service.ipc service.store service.launch"
        " service.supervisor fastapi ray",
    ),
    room("service.launch", "service uvicorn", never="service.commands service.cli"),
    room("service.commands", "service models client torch numpy tqdm typer", never="service.cli"),
    room("service.cli", f"{WIRE} service.commands client.errors models.errors typer"),
    room("service.__main__", "service.cli"),
    room("client", f"{WIRE} client service.media websockets numpy av PIL tqdm"),
    room("longtake", "models client"),
)
