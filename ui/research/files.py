"""What researchers take away from the Research tab: exports, tables, lists of participants and payments, from routes of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from mre.errors import StudyError
from mre.study import records
from mre.study.export import FORMS, export_parts
from mre.study.participants import Pay, participants_csv, payments
from mre.study.table import FORMS as TABLE_FORMS
from mre.study.table import study_table


def add_routes(app: FastAPI, studio) -> None:
    """Exports, tables and lists of people, from the store. Where there are accounts, for researchers alone (`Access.protect_routes`)."""

    @app.get("/research/export/{name}.{form}")
    def export_study(name: str, form: str, wide: bool = False, bom: bool = False, everyone: bool = True) -> Response:
        kind = {"csv": "wide" if wide else "long", "jsonl": "jsonl"}.get(form)
        if kind not in FORMS:
            return _missing(f"there is no form {form}")
        try:
            records.find_study(studio.store, name)
        except StudyError as error:
            return _missing(str(error))
        return StreamingResponse(_streamed(studio.store, name, kind, bom, not everyone), headers=_attachment(f"{name}.{form}"),
                                 media_type="text/csv; charset=utf-8" if form == "csv" else "application/x-ndjson")

    @app.get("/research/table/{name}.{form}")
    def table(name: str, form: str, request: Request) -> Response:
        if form not in TABLE_FORMS:
            return _missing(f"there is no form {form}")
        try:
            written = study_table(studio.store, name).written(form)
        except StudyError as error:
            return _missing(str(error))
        return Response(written, media_type="text/plain; charset=utf-8", headers=_attachment(f"{name}-table.{form}"))


    @app.get("/research/participants/{name}.csv")
    def people(name: str) -> Response:
        return _list_of_people(lambda: participants_csv(studio.store, name), f"{name}-participants.csv")

    @app.get("/research/payments/{form}/{name}.csv")
    def paid(form: str, name: str, amount: str = "0", per_screen: str = "0", reject: bool = False) -> Response:
        return _list_of_people(lambda: payments(studio.store, name, form, Pay.of(amount, per_screen, reject))[0],
                               f"{name}-payments-{form}.csv")


def _list_of_people(make: Callable[[], str], filename: str) -> Response:
    try:
        return Response(make(), media_type="text/csv; charset=utf-8", headers=_attachment(filename))
    except StudyError as error:
        return _missing(str(error))


def _streamed(store, name: str, form: str, bom: bool, without_excluded: bool) -> Iterator[str]:
    if bom:
        yield "\ufeff"
    for text, _rows in export_parts(store, name, form, without_excluded=without_excluded):
        yield text


def _attachment(filename: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(filename)}", "Cache-Control": "no-store"}


def _missing(message: str) -> Response:
    return JSONResponse({"error": message}, status_code=404)
