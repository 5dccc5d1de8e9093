"""How far a call in another thread is, said in the GUI thread."""

import threading

from napari_dip_fusion.plugin.running.teller import Teller


def test_the_latest_is_said_in_the_gui_thread(qtbot) -> None:
    said = []
    teller = Teller(lambda text: said.append((text, threading.current_thread())))
    teller.begin("computing")
    told = threading.Thread(target=lambda: [teller.tell("gains", done, 128) for done in (3, 34.2)])
    told.start()
    told.join()
    qtbot.waitUntil(lambda: len(said) > 1, timeout=5_000)
    assert [text for text, _ in said[:2]] == ["computing", "gains: 34 of 128 planes"]
    assert {thread for _, thread in said} == {threading.main_thread()}
    teller.end()
    count = len(said)
    qtbot.wait(600)
    assert len(said) == count


def test_planes_are_there_in_a_blink(qtbot) -> None:
    said = []
    teller = Teller(said.append)
    teller.begin("computing")
    teller.tell("metrics", 1, 1)
    qtbot.wait(600)
    teller.end()
    assert said == ["computing"]
