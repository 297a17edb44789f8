"""`asrc explain`: the page of an error or warning code."""

from __future__ import annotations

import click

from .terminal import common, look, show_json, show_table, show_text


def _codes(ctx: click.Context, param: click.Parameter, begun: str) -> list[str]:
    """For the shell to complete."""
    from ..compiler.codes import titles

    return [code for code in titles() if code.startswith(begun.upper())]


@click.command("explain")
@click.argument("code", required=False, shell_complete=_codes)
@click.option("--list", "listed", is_flag=True, help="All codes with their titles.")
@common
def command(code: str | None, listed: bool) -> None:
    """Explain an error or warning CODE, with a wrong and a right snippet."""
    if (code is None) != listed:
        raise click.UsageError("give a CODE, such as E0304, or --list")
    if code is None:
        _list()
    else:
        _explain(code.upper())


def _list() -> None:
    from ..compiler.codes import titles

    if look().json:
        show_json([{"code": code, "title": title} for code, title in titles().items()])
    else:
        show_table(("code", "title"), titles().items(), left=2)


def _explain(code: str) -> None:
    from ..compiler.codes import explain, readable, titles
    from ..compiler.nearest import did_you_mean

    page = explain(code)
    if page is None:
        hint = did_you_mean(code, titles()) or "`asrc explain --list` has all"
        raise click.UsageError(f"there is no code `{code}`; {hint}")
    if look().json:
        show_json({"code": code, "title": titles()[code], "text": page})
        return
    heading, _, body = readable(page).partition("\n")
    show_text(click.style(heading.lstrip("# "), bold=True))
    show_text(body.rstrip())
