"""A server that is slow, busy, broken or gone, and pictures that this browser cannot read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from clipshelf import Catalogue, Engine, index
from clipshelf.serve.settings import Settings
from support.service import RunningService
from support.web_page import Open, colour_file, ids, products, settle, wait_for_text

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Page, Route


def problem(route: Route, status: int, detail: str, **headers: str) -> None:
    body = {"type": "about:blank", "title": "Refused", "status": status, "detail": detail}
    route.fulfill(status=status, json=body, headers={"Content-Type": "application/problem+json", **headers})


def answer_once(page: Page, *answers: Any) -> None:
    """Let the next requests for recommendations be answered by `answers`, and later ones by the server."""
    left = list(answers)
    page.route("**/v1/recommend", lambda route: left.pop(0)(route) if left else route.continue_())


def test_a_fault_is_shown_and_tried_again(open_page: Open) -> None:
    page = open_page("/#q=red", faulty=True)
    before = ids(page)
    answer_once(page, lambda route: problem(route, 500, "the disk is <b>full</b>"))
    page.locator(".like").first.click()
    page.wait_for_selector(".notice.fault")
    assert page.inner_text(".notice.fault p") == "the disk is <b>full</b>"
    assert page.get_attribute(".notice.fault", "role") == "alert"
    assert ids(page) == before and page.inner_text("#times") == "The products below are from before."
    page.click(".notice.fault button")
    settle(page)
    assert page.locator(".notice.fault").count() == 0 and ids(page) != before


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again_when_it_says(open_page: Open, status: int) -> None:
    page = open_page("/#q=red", faulty=True)
    busy = lambda route: problem(route, status, "the queue is full", **{"Retry-After": "1"})  # noqa: E731
    answer_once(page, busy)
    page.locator(".like").first.click()
    wait_for_text(page, ".notice", "The server is busy. Trying again in 1 s.")
    settle(page)
    assert page.locator(".notice").filter(has_text="busy").count() == 0 and page.locator("#chips .chip").count() == 1


def test_a_partial_answer_says_so(open_page: Open) -> None:
    """The page names the shards that did not answer, and a whole answer takes the notice away."""

    def without(*shards: int) -> Any:
        def answer(route: Route) -> None:
            response = route.fetch()
            route.fulfill(response=response, json={**response.json(), "missing_shards": list(shards)})

        return answer

    page = open_page("/#q=red", faulty=True)
    answer_once(page, without(2), without(0, 3))
    page.locator(".like").first.click()
    text = "A part of the catalogue does not answer now (shard 2). Its products are missing here."
    wait_for_text(page, ".notice.partial", text)
    assert page.get_attribute(".notice.partial", "role") == "note"
    assert " The answer is partial." in page.inner_text("#status")
    page.locator(".like").nth(3).click()
    text = "Parts of the catalogue do not answer now (shard 0, 3). Their products are missing here."
    wait_for_text(page, ".notice.partial", text)
    page.locator(".like").nth(5).click()
    settle(page)
    page.wait_for_selector(".notice.partial", state="detached")
    assert "partial" not in page.inner_text("#status")


def test_a_server_that_is_gone_is_named(open_page: Open) -> None:
    page = open_page("/#q=red", faulty=True)
    answer_once(page, lambda route: route.abort())
    page.locator(".like").first.click()
    wait_for_text(page, ".notice.fault", "The server cannot be reached.")


def test_a_server_that_is_gone_at_the_start_can_be_tried_again(open_page: Open, service: Any) -> None:
    page = open_page("/static/icon.svg", wait=False, faulty=True)
    gone = [True]
    page.route("**/v1/catalogue", lambda route: route.abort() if gone else route.continue_())
    page.goto(f"{service.url}/#q=red")
    page.wait_for_selector(".notice.fault button")
    assert page.locator(".waiting").count() == 0
    gone.clear()
    page.click(".notice.fault button")
    page.wait_for_selector(".product")
    assert len(ids(page)) == 12


def test_a_slow_server_leaves_the_products_in_place(open_page: Open) -> None:
    page = open_page("/#q=red")
    page.clock.install(time=0)
    page.clock.pause_at(60_000)
    before = ids(page)
    held: list[Any] = []
    page.route("**/v1/recommend", lambda route: held.append(route))  # noqa: PLW0108 - Playwright marks its functions
    page.locator(".like").first.click()
    page.clock.run_for(100)
    assert page.is_hidden("#progress")
    page.clock.run_for(100)
    assert page.get_attribute("#progress", "hidden") is None and page.get_attribute("#cards", "aria-busy") == "true"
    assert ids(page) == before
    page.clock.run_for(5000)
    assert page.inner_text(".notice.slow") == "The server takes long. It is still at work."
    held[0].continue_()
    page.clock.resume()
    settle(page)
    assert page.is_hidden("#progress") and page.locator(".notice.slow").count() == 0 and ids(page) != before


def test_a_later_query_ends_an_earlier_one(open_page: Open) -> None:
    page = open_page("/#q=red")
    held: list[Any] = []
    page.route("**/v1/recommend", lambda route: held.append(route) if not held else route.continue_())
    page.fill("#words", "green")
    page.keyboard.press("Enter")
    page.fill("#words", "blue shirt")
    page.keyboard.press("Enter")
    settle(page)
    assert "blue" in page.locator(".text").first.inner_text() and page.evaluate("location.hash") == "#q=blue+shirt"
    assert page.locator(".notice").count() == 0 or page.locator(".notice.fault").count() == 0


def test_the_places_of_cards_stay_while_the_first_answer_is_on_its_way(open_page: Open, service: Any) -> None:
    page = open_page("/static/icon.svg", wait=False, faulty=True)
    page.route("**/v1/catalogue", lambda _: None)
    page.goto(f"{service.url}/#q=red")
    page.wait_for_selector(".waiting")
    assert page.locator(".waiting").count() == 12


def test_a_picture_that_the_browser_cannot_read_goes_to_the_server(open_page: Open) -> None:
    page = open_page(faulty=True)
    broken: FilePayload = {"name": "photo.jpg", "mimeType": "image/jpeg", "buffer": b"no picture at all"}
    page.set_input_files("#file", broken)
    page.wait_for_selector(".notice.fault")
    assert "image" in page.inner_text(".notice.fault")
    page.click("#photo-remove")
    settle(page)
    assert page.locator(".notice.fault").count() == 0


def test_a_large_picture_is_shrunk_before_it_is_sent(open_page: Open) -> None:
    page = open_page()
    with page.expect_request("**/v1/recommend") as sent:
        page.evaluate(
            """async () => {
                const canvas = new OffscreenCanvas(4000, 3000);
                const context = canvas.getContext("2d");
                for (let i = 0; i < 4000; i += 10) {
                    context.fillStyle = `hsl(${i} 80% 50%)`;
                    context.fillRect(i, 0, 10, 3000);
                }
                const blob = await canvas.convertToBlob({ type: "image/png" });
                const transfer = new DataTransfer();
                transfer.items.add(new File([blob], "large.png", { type: "image/png" }));
                const field = document.querySelector("#file");
                field.files = transfer.files;
                field.dispatchEvent(new Event("change"));
            }"""
        )
    settle(page)
    assert len(sent.value.post_data or "") < 300_000
    size = "[document.querySelector('#photo-shown').naturalWidth, document.querySelector('#photo-shown').naturalHeight]"
    assert page.evaluate(f"document.querySelector('#photo-shown').decode().then(() => {size})") == [768, 576]


def test_a_transparent_picture_is_put_on_white(open_page: Open) -> None:
    page = open_page()
    page.evaluate(
        """async () => {
            const canvas = new OffscreenCanvas(40, 40);
            canvas.getContext("2d").clearRect(0, 0, 40, 40);
            const blob = await canvas.convertToBlob({ type: "image/png" });
            const transfer = new DataTransfer();
            transfer.items.add(new File([blob], "clear.png", { type: "image/png" }));
            const field = document.querySelector("#file");
            field.files = transfer.files;
            field.dispatchEvent(new Event("change"));
        }"""
    )
    page.wait_for_selector("#photo-shown:visible")
    pixel = page.evaluate(
        """async () => {
            const image = document.querySelector("#photo-shown");
            await image.decode();
            const context = new OffscreenCanvas(40, 40).getContext("2d");
            context.drawImage(image, 0, 0);
            return [...context.getImageData(20, 20, 1, 1).data];
        }"""
    )
    assert pixel == [255, 255, 255, 255]


def test_every_use_of_a_photo_keeps_its_place(open_page: Open) -> None:
    page = open_page("/#q=shoe")
    for colour in ("red", "green"):
        page.set_input_files("#file", colour_file(colour))
        page.wait_for_selector("#photo-shown:visible")
        settle(page)
        page.click("#photo-remove")
        settle(page)
    page.go_back()
    settle(page)
    assert page.is_visible("#photo-shown") and page.input_value("#words") == "shoe"


def test_a_catalogue_that_changes_is_followed(open_page: Open, tiny_engine: Engine, tmp_path: Path) -> None:
    index(tiny_engine, products(tmp_path)[:20], tmp_path / "shelf")
    running = RunningService(tiny_engine, tmp_path / "shelf", Settings()).start()
    try:
        page = open_page("/#q=red", url=running.url)
        assert page.inner_text("#shelf") == "20 products"
        catalogue = Catalogue.load(tmp_path / "shelf").add(
            tiny_engine, [{"id": "new", "text": "warm watch", "size": 1}]
        )
        catalogue.save(tmp_path / "shelf")
        running.service.keeper.refresh()
        page.fill("#words", "warm watch")
        page.keyboard.press("Enter")
        wait_for_text(page, "#shelf", "21 products")
        settle(page)
        assert ids(page)[0] == "new" and page.locator("legend", has_text="Size").count() == 1
    finally:
        running.stop()


def test_an_empty_catalogue_is_named(open_page: Open, tiny_engine: Engine, tmp_path: Path) -> None:
    index(tiny_engine, products(tmp_path)[:2], tmp_path / "shelf")
    Catalogue.load(tmp_path / "shelf").remove([product["id"] for product in products(tmp_path)[:2]]).save(
        tmp_path / "shelf", allow_shrink=1.0
    )
    running = RunningService(tiny_engine, tmp_path / "shelf", Settings()).start()
    try:
        page = open_page("/", url=running.url)
        assert page.inner_text(".nothing") == "The catalogue is empty." and page.is_hidden("#more")
    finally:
        running.stop()
