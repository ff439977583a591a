import platform
from pathlib import Path

import torch

from service.commands.machine import cpu_name, machine_facts


def test_facts_are_of_this_machine() -> None:
    facts = machine_facts()
    assert facts.torch == torch.__version__
    assert facts.threads == torch.get_num_threads()
    assert facts.memory_gib > 0
    assert len(facts.load_average) == 3


def test_name_of_the_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    assert cpu_name(cpuinfo) == platform.machine()
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some CPU: 2 GHz\nmodel name\t: Another\n")
    assert cpu_name(cpuinfo) == "Some CPU: 2 GHz"
    cpuinfo.write_text("processor\t: 0\n")
    assert cpu_name(cpuinfo) == platform.machine()
