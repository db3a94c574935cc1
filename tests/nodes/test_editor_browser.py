"""The timeline editor in the browser, in the classic front end and in Nodes 2.0. Slow; needs COMFYUI_PATH and playwright."""

import json
import re

import pytest
from browser_page import BROWSER, VUE, opened_page

pytestmark = BROWSER
TEXT = "# my song\n0.30 bell left\n1.20   bell middle silent # soft\n0.5 dog top\n0.8 dog right unseen\n"
ADD = """([text, seconds]) => {
  const { app } = window;
  app.graph.clear();
  const node = window.LiteGraph.createNode("DuetTimelinePrompt");
  node.pos = [300, 150];
  app.graph.add(node);
  node.setSize([640, 760]);
  const set = (name, value) => {
    const widget = node.widgets.find((w) => w.name === name);
    widget.value = value;
    widget.callback?.(value);
  };
  set("seconds", seconds);
  set("timeline", text);
  return app.graph.serialize();
}"""
LOAD = """async (graph) => {
  await window.app.loadGraphData(graph, true, true, null);
  window.app.canvas.ds.scale = 1;
  window.app.canvas.ds.offset = [-150, -60];
  window.app.canvas.setDirty(true, true);
}"""
NODE = "window.app.graph._nodes.find((n) => n.type === 'DuetTimelinePrompt')"
VALUE = f"() => {NODE}.widgets.find((w) => w.name === 'timeline').value"
SET = f"(v) => {{ const w = {NODE}.widgets.find((w) => w.name === 'timeline'); w.value = v; w.callback?.(v); }}"
LOCK = "(on) => { window.app.canvas.read_only = on; }"


@pytest.fixture(params=[False, True], ids=["classic", "nodes 2.0"], scope="module")
def front_end(server, browser, request):
    """A page of either front end, and a graph with one node whose timeline is TEXT."""
    page = opened_page(browser, server[0])
    page.evaluate(VUE, request.param)
    page.keyboard.press("Escape")
    yield page, page.evaluate(ADD, [TEXT, 4.0])
    page.evaluate(VUE, False)
    page.close()


@pytest.fixture
def edited(front_end):
    """The page with that graph newly loaded."""
    page, graph = front_end
    page.evaluate(LOAD, graph)
    page.wait_for_selector(".duet-editor .mark")
    page.wait_for_timeout(800)
    return page


def mark(page, label, *, sound=False):
    """The mark whose description begins with ``label``."""
    return page.locator(f'.duet-editor .mark{".sound" if sound else ":not(.sound)"}[aria-label^="{label}"]')


def text(page):
    page.wait_for_timeout(500)
    return page.evaluate(VALUE)


def drag(page, locator, x, y=0):
    box = locator.bounding_box()
    start = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(*start)
    page.mouse.down()
    for share in (0.2, 0.6, 1):
        page.mouse.move(start[0] + share * x, start[1] + share * y)
    page.mouse.up()


def second(page):
    """Pixels of one second on screen."""
    left, right = (mark(page, f"bell at {t} ").bounding_box()["x"] for t in ("0.3", "1.2"))
    return (right - left) / 0.9


def test_a_drag_changes_one_line_and_undo_restores_it(edited):
    drag(edited, mark(edited, "bell at 1.2 "), second(edited))
    assert text(edited) == TEXT.replace("1.20   bell", "2.20   bell")
    edited.keyboard.press("Control+z")
    edited.wait_for_timeout(1500)
    assert text(edited) == TEXT
    assert mark(edited, "bell at 1.2 ").count() == 1
    edited.keyboard.press("Control+y")
    edited.wait_for_timeout(1500)
    assert text(edited) == TEXT.replace("1.20   bell", "2.20   bell")


def test_a_node_stays_where_it_is_while_its_event_is_dragged(edited):
    before = edited.evaluate(f"() => [...{NODE}.pos]")
    drag(edited, mark(edited, "bell at 0.3 "), 0.5 * second(edited), 11)
    assert text(edited) == TEXT.replace("0.30 bell left", "0.80 bell middle")
    assert edited.evaluate(f"() => [...{NODE}.pos]") == before


def test_lines_that_are_not_events_are_kept_and_explained(edited):
    problems = edited.locator(".duet-editor .problems li")
    assert problems.all_inner_texts() == [
        "Line 4 of the timeline, '0.5 dog top': The place of an event is 'top'; it must be one of left, middle, right. "
        "Expected: seconds, what, where, and optionally 'silent' or 'unseen', e.g. '0.35 bell left'."
    ]
    mark(edited, "dog at 0.8 ", sound=True).click()
    edited.keyboard.press("v")
    assert text(edited) == TEXT.replace("0.8 dog right unseen", "0.8 dog right")


def test_the_keyboard_moves_mutes_and_removes_events(edited):
    mark(edited, "bell at 0.3 ").focus()
    edited.keyboard.press("ArrowRight")
    edited.keyboard.press("s")
    assert text(edited) == TEXT.replace("0.30 bell left", "0.35 bell left silent")
    edited.keyboard.press("m")
    edited.keyboard.press("p")
    assert text(edited) == TEXT.replace("0.30 bell left", "# 0.35 bell middle silent")
    edited.keyboard.press("ArrowDown")
    edited.keyboard.press("ArrowDown")
    edited.keyboard.press("Delete")
    expected = TEXT.replace("0.30 bell left", "# 0.35 bell middle silent").replace("1.20   bell middle silent ", "")
    assert text(edited) == expected
    assert edited.evaluate("() => window.app.graph._nodes.length") == 1


def test_events_are_copied_as_text(edited):
    mark(edited, "bell at 0.3 ").click()
    edited.keyboard.press("Control+a")
    edited.keyboard.press("Control+c")
    head = edited.locator(".duet-editor .head").bounding_box()
    edited.mouse.click(head["x"] + 76 + 2 * second(edited), head["y"] + 8)
    edited.keyboard.press("Control+v")
    added = "2.00 bell left\n2.50 dog right unseen\n2.90 bell middle silent\n"
    assert text(edited) == TEXT + added
    assert edited.evaluate("() => window.app.graph._nodes.length") == 1


def test_a_double_click_adds_an_event_of_the_lane(edited):
    box = mark(edited, "bell at 0.3 ").bounding_box()
    edited.mouse.dblclick(box["x"] + 6 + 3 * second(edited), box["y"] + 5)
    assert text(edited) == TEXT + "3.30 bell left\n"


def test_fields_have_names_and_change_the_selected_event(edited):
    mark(edited, "bell at 0.3 ").click()
    time = edited.get_by_role("spinbutton", name="Time in seconds")
    time.fill("0.123")
    time.press("Enter")
    edited.get_by_role("combobox", name="Place").last.select_option("right")
    assert text(edited) == TEXT.replace("0.30 bell left", "0.123 bell right")
    unnamed = "[...document.querySelectorAll('.duet-editor :is(button, input, select)')]"
    unnamed += ".filter((e) => !(e.getAttribute('aria-label') || e.closest('label')?.textContent.trim())).length"
    assert edited.evaluate(f"() => {unnamed}") == 0
    assert edited.locator(".duet-editor .mark[tabindex='0']").count() == 1


def test_a_locked_canvas_locks_the_editor(edited):
    edited.evaluate(LOCK, True)
    edited.wait_for_timeout(600)
    drag(edited, mark(edited, "bell at 0.3 "), second(edited))
    assert text(edited) == TEXT
    edited.evaluate(LOCK, False)
    edited.wait_for_timeout(600)
    edited.evaluate("() => { window.app.canvas.ds.offset = [-150, -60]; window.app.canvas.setDirty(true, true); }")
    edited.wait_for_timeout(300)
    drag(edited, mark(edited, "bell at 0.3 "), second(edited))
    assert text(edited) == TEXT.replace("0.30 bell", "1.30 bell")


def test_text_of_a_workflow_is_never_html(edited):
    edited.evaluate("() => { window.duetWasHere = false; }")
    hostile = "0.5 <img/src=x/onerror=duetWasHere=true> left\n<img src=x onerror=duetWasHere=true> x y"
    edited.evaluate(SET, hostile)
    edited.wait_for_timeout(800)
    mark(edited, "<img").click()
    edited.wait_for_timeout(500)
    assert edited.locator(".duet-editor img").count() == 0
    assert edited.evaluate("() => window.duetWasHere") is False
    assert "onerror" in edited.locator(".duet-editor .problems").inner_text()


def test_a_saved_workflow_and_a_copied_node_keep_the_text(edited):
    drag(edited, mark(edited, "bell at 0.3 "), second(edited))
    changed = text(edited)
    graph = edited.evaluate("() => window.app.graph.serialize()")
    (node,) = graph["nodes"]
    assert changed in node["widgets_values"]
    edited.evaluate(LOAD, json.loads(json.dumps(graph)))
    edited.wait_for_selector(".duet-editor .mark")
    assert text(edited) == changed
    assert mark(edited, "bell at 1.3 ").count() == 1
    copies = edited.evaluate(f"""() => {{
      const {{ app }} = window;
      const copy = {NODE}.clone();
      copy.pos = [1000, 150];
      app.graph.add(copy);
      const values = app.graph._nodes.map((n) => n.widgets.find((w) => w.name === "timeline"));
      values[1].value = "1 cat left";
      values[1].callback?.("1 cat left");
      return values.map((w) => w.value);
    }}""")
    assert copies == [changed, "1 cat left"]
    edited.wait_for_timeout(800)
    assert (mark(edited, "bell at 1.3 ").count(), mark(edited, "cat at 1 ").count()) == (1, 1)


def test_the_editor_works_in_a_subgraph(edited):
    edited.evaluate("""() => {
      const { app } = window;
      const { subgraph, node } = app.graph.convertToSubgraph(new Set([app.graph._nodes[0]]));
      app.canvas.openSubgraph(subgraph, node);
    }""")
    edited.wait_for_timeout(1500)
    inside = NODE.replace("app.graph", "app.canvas.graph")
    edited.evaluate(f"""() => {{
      const {{ canvas }} = window.app;
      canvas.ds.scale = 1;
      canvas.ds.offset = [150 - {inside}.pos[0], 90 - {inside}.pos[1]];
      canvas.setDirty(true, true);
    }}""")
    edited.wait_for_timeout(800)
    drag(edited, mark(edited, "bell at 0.3 "), second(edited))
    edited.wait_for_timeout(500)
    value = edited.evaluate(f"() => {inside}.widgets.find((w) => w.name === 'timeline').value")
    assert value == TEXT.replace("0.30 bell", "1.30 bell")


def test_the_editor_works_in_app_mode(edited):
    toggle = "async () => await window.app.extensionManager.command.execute('Comfy.ToggleLinear')"
    graph = edited.evaluate("() => window.app.graph.serialize()")
    (node,) = graph["nodes"]
    shown = {"linearData": {"inputs": [[node["id"], "timeline"], [node["id"], "editor"]], "outputs": [node["id"]]}}
    edited.evaluate(LOAD, {**graph, "extra": {**graph.get("extra", {}), **shown}})
    edited.evaluate(toggle)
    edited.wait_for_timeout(2500)
    if (tour := edited.get_by_role("button", name="Skip")).count():
        tour.click()
        edited.wait_for_timeout(500)
    try:
        drag(edited, mark(edited, "bell at 0.3 "), second(edited))
        assert text(edited) == TEXT.replace("0.30 bell", "1.30 bell")
    finally:
        edited.evaluate(toggle)
        edited.wait_for_timeout(1000)


def test_a_timeline_from_a_link_is_shown_but_not_edited(edited):
    edited.evaluate(f"""() => {{
      const node = {NODE};
      const source = window.LiteGraph.createNode("PrimitiveStringMultiline");
      window.app.graph.add(source);
      source.connect(0, node, node.inputs.findIndex((input) => input.name === "timeline"));
      node.onExecuted({{ duet_timeline: [{{ timeline: "0.50 lamp left", seconds: 4, words: [] }}] }});
    }}""")
    lamp = mark(edited, "lamp at 0.5 ")
    lamp.wait_for()
    lamp.click()
    edited.keyboard.press("ArrowRight")
    assert text(edited) == TEXT
    assert lamp.count() == 1
    assert "comes from a link" in edited.locator(".duet-editor .status").inner_text()


def test_the_beats_of_an_audio_become_events_in_one_click(edited):
    beats = edited.get_by_role("button", name="Add an event at every beat of the audio")
    assert not beats.is_visible()
    wave = {"seconds": 4, "peaks": [0.1, 1.0] * 50}
    state = {"timeline": "", "seconds": 4, "words": ["snare"], "beats": [0.301, 2.5, 3.125], "onsets": [], "wave": wave}
    edited.evaluate(f"(state) => {NODE}.onExecuted({{ duet_timeline: [state] }})", state)
    beats.click()
    assert text(edited) == TEXT + "2.50 bell middle\n3.125 bell middle\n"
    assert edited.locator(".duet-editor .head").bounding_box()["height"] > 40


def test_timed_events_are_edited_as_ranges(edited):
    lines = "0.5-1.5 both: a door slams\n2.3 audio: thunder\n3 bell left\n"
    edited.evaluate(ADD.replace("DuetTimelinePrompt", "DuetTimedPrompt"), [lines, 4.0])
    door = mark(edited, "a door slams at 0.5 to 1.5 ").last
    door.wait_for()
    edited.wait_for_timeout(800)
    assert edited.get_by_label("Name of new events").last.input_value() == "a door slams"
    drag(edited, door, door.bounding_box()["width"])
    edited.keyboard.press("s")
    edited.wait_for_timeout(500)
    value = edited.evaluate(VALUE.replace("DuetTimelinePrompt", "DuetTimedPrompt"))
    assert value == lines.replace("0.5-1.5 both", "1.50-2.50 video")


def test_ten_thousand_events_are_drawn_and_stay(edited):
    many = "\n".join(f"{k / 2500:.4f} w{k % 5} left" for k in range(10_000))
    edited.evaluate(SET, many)
    edited.wait_for_timeout(2000)
    assert re.search(r"\d{4} events are in view", edited.locator(".duet-editor .status").inner_text())
    assert text(edited) == many
