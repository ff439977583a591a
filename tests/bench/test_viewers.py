"""A share of the viewers' run: everybody hears every chunk."""

from tests.bench import viewers


async def test_every_viewer_hears_every_chunk() -> None:
    figures = await viewers.run(20, 2.0)
    assert (figures.viewers, figures.missing) == (20, 0)
    assert figures.chunks_each > 0
