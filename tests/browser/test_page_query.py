"""Words, pictures, likes and dislikes, their chips, and the link that holds them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import pytest
from support.service import RunningService, photo
from support.web_page import Open, chips, colour_file, ids, settle, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import Page


def colours(page: Page, first: int = 12) -> set[str]:
    return {id_.split("/")[1].split("-")[0] for id_ in ids(page)[:first]}


def test_the_page_begins_with_products_from_all_over_the_catalogue(open_page: Open) -> None:
    page = open_page()
    assert len(ids(page)) == 12 and colours(page) == {"red", "green", "blue"}
    assert page.inner_text("#title") == "Some products to begin with"
    assert page.inner_text("#shelf") == "27 products" and not page.is_visible(".why")


def test_words_find_while_they_are_typed(open_page: Open, service: RunningService) -> None:
    page = open_page()
    page.locator("#words").press_sequentially("green shirt", delay=5)
    wait_for_text(page, "#status", "First: ")
    settle(page)
    answer = service.client.post("/v1/recommend", json={"text": "green shirt", "k": 12}).json()
    assert ids(page) == [item["id"] for item in answer["recommendations"]]
    assert page.evaluate("location.hash") == "#q=green+shirt"


@pytest.mark.parametrize("way", ["choose", "drop", "paste"])
def test_a_picture_comes_by_choice_drop_and_clipboard(open_page: Open, way: str) -> None:
    page = open_page()
    if way == "choose":
        with page.expect_file_chooser() as chooser:
            page.click("#choose")
        chooser.value.set_files(colour_file("blue"))
    else:
        _hand_over(page, way, photo("blue"))
    page.wait_for_selector("#photo-shown:visible")
    settle(page)
    assert colours(page, 6) == {"blue"}
    assert page.inner_text("#title") in ("What fits", "The nearest")
    page.click("#photo-remove")
    settle(page)
    assert len(colours(page)) == 3 and page.evaluate("document.activeElement.id") == "choose"


def _hand_over(page: Page, way: str, data: bytes) -> None:
    """Drop a file on the page, or paste it."""
    page.evaluate(
        """([way, data]) => {
            const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], "photo.jpg", { type: "image/jpeg" }));
            const options = { bubbles: true, cancelable: true };
            if (way === "paste") {
                document.body.dispatchEvent(new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
                return;
            }
            for (const kind of ["dragenter", "dragover", "drop"])
                document.body.dispatchEvent(new DragEvent(kind, { ...options, dataTransfer: transfer }));
        }""",
        [way, base64.b64encode(data).decode()],
    )
    assert page.is_hidden("#dropping")


def test_a_photo_is_taken_by_the_camera(open_page: Open) -> None:
    page = open_page("/#q=red", permissions=["camera"])
    page.click("#camera")
    page.wait_for_selector("#camera-dialog[open]")
    page.wait_for_timeout(300)
    page.click("#camera-shoot")
    page.wait_for_selector("#photo-shown:visible")
    settle(page)
    width = page.eval_on_selector("#photo-shown", "image => image.decode().then(() => image.naturalWidth)")
    tracks = page.eval_on_selector("#video", "video => video.srcObject.getTracks().map((track) => track.readyState)")
    assert width >= 320 and tracks == ["ended"] and page.is_hidden("#camera")


def test_a_camera_that_is_refused_is_named(open_page: Open) -> None:
    page = open_page()
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new Error('closed')); }")
    page.click("#camera")
    assert "keeps it closed" in (page.text_content("#toast.shown") or "")


def test_what_is_no_picture_is_refused_with_a_word(open_page: Open) -> None:
    page = open_page()
    page.evaluate(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["text"], "notes.txt", { type: "text/plain" }));
            const options = { bubbles: true, cancelable: true, dataTransfer: transfer };
            for (const kind of ["dragenter", "drop"]) document.body.dispatchEvent(new DragEvent(kind, options));
        }"""
    )
    assert "no picture file" in (page.text_content("#toast.shown") or "") and page.is_hidden("#photo-shown")


def test_a_like_changes_the_order_and_can_be_removed(open_page: Open) -> None:
    page = open_page("/#q=shoe&k=27")
    before, liked = ids(page), "cotton/blue-watch"
    page.click(f'.product[data-id="{liked}"] .like')
    settle(page)
    after = ids(page)
    assert liked not in after and [id_ for id_ in before if id_ in after] != [id_ for id_ in after if id_ in before]
    assert [chip.replace("\n", " ") for chip in chips(page)] == [f"Liked {_text(liked)}"]
    page.click(f'.product[data-id="{after[0]}"] .dislike')
    settle(page)
    assert [chip.split("\n")[0] for chip in chips(page)] == ["Liked", "Disliked"]
    page.click("#chips .chip.disliked button")
    settle(page)
    assert ids(page) == after
    page.click("#forget")
    settle(page)
    assert ids(page) == before and not chips(page)


def _text(id_: str) -> str:
    made_of, _, rest = id_.partition("/")
    return f"a {rest.replace('-', ' ')} of {made_of}"


def test_a_dislike_after_a_like_replaces_it(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=shoe&liked=cotton/red-shoe")
    page.evaluate("location.hash = '#q=shoe&liked=cotton/red-shoe&disliked=cotton/red-shoe'")
    settle(page)
    assert [chip.split("\n")[0] for chip in chips(page)] == ["Disliked"]
    answer = service.client.post(
        "/v1/recommend", json={"text": "shoe", "disliked": ["cotton/red-shoe"], "k": 12}
    ).json()
    assert ids(page) == [item["id"] for item in answer["recommendations"]]


def test_more_like_this_starts_from_a_product_and_the_way_back_leads_back(open_page: Open) -> None:
    page = open_page("/#q=watch&max.price=100")
    before = ids(page)
    page.click(f'.product[data-id="{before[0]}"] .similar')
    settle(page)
    assert page.input_value("#words") == "" and chips(page)[0].startswith("More like\n")
    assert before[0] not in ids(page) and page.evaluate("document.activeElement.id") == "results"
    assert "max.price=100" in page.evaluate("location.hash")
    page.go_back()
    settle(page)
    assert ids(page) == before and page.input_value("#words") == "watch" and not chips(page)


def test_a_link_restores_the_state(open_page: Open) -> None:
    state = (
        "q=warm+shoe&liked=wool/red-shoe&disliked=cotton/blue-watch&min.price=20&max.price=250&is.category=shoe"
        "&is.category=watch&is.in_stock=true&weight.text=0.5&diversity=0.3&k=24"
    )
    page = open_page(f"/#{state}")
    shown = ids(page)
    assert page.input_value("#words") == "warm shoe" and len(chips(page)) == 2 and shown
    assert page.locator("legend:text-is('Category') + .options :checked").count() == 2
    assert page.input_value("[aria-label='Price from']") == "20" and page.input_value("#slider-words") == "0.5"
    assert page.input_value("#slider-variety") == "0.3"
    assert all("watch" in id_ or "shoe" in id_ for id_ in shown)
    # What is changed there and back again makes the same link.
    page.locator("#chips .chip.liked button").click()
    page.go_back()
    settle(page)
    again = open_page(f"/{page.evaluate('location.hash')}")
    assert ids(again) == shown
    twice = open_page(f"/#{again.evaluate('location.hash')[1:]}&k=x&diversity=7&weight.nose=1&max.size=3&min.price=x&x")
    assert twice.is_hidden("#notices .fault")


def test_a_link_does_not_hold_the_picture_and_says_so(open_page: Open, service: RunningService) -> None:
    page = open_page("/#q=shirt", permissions=["clipboard-read", "clipboard-write"])
    page.set_input_files("#file", colour_file("red"))
    page.wait_for_selector("#photo-shown:visible")
    page.click("#link")
    page.wait_for_selector("#toast.shown")
    assert "The picture is not in it" in page.inner_text("#toast")
    assert page.evaluate("navigator.clipboard.readText()") == f"{service.url}/#q=shirt"
    page.click("#words")
    page.keyboard.press("End")
    page.keyboard.type(" red")
    page.keyboard.press("Enter")
    settle(page)
    page.click("#photo-remove")
    page.go_back()
    settle(page)
    assert page.is_visible("#photo-shown"), "the way back within the tab has the picture again"


def test_ids_that_are_gone_are_named_and_left_out(open_page: Open) -> None:
    page = open_page("/#q=shoe&liked=gone", faulty=True)
    assert ids(page) and "left out: gone" in page.inner_text("#notices")
    wait_for_text(page, "#chips", "gone (unknown)")
