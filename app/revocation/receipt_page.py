"""A receipt as a page to print and file: what the signed file says, in words and tables, without a script or anything from elsewhere."""

from collections.abc import Mapping
from typing import Any, Final

from jinja2 import Environment, StrictUndefined

_PAGES: Final = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
_PAGE: Final = _PAGES.from_string(
    """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Receipt: {{ receipt.person.displayName }}</title>
<style>
:root { color-scheme: light dark }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }
caption { text-align: left; font-weight: 600; padding: .25rem 0 }
th, td { border: 1px solid; padding: .25rem .5rem; text-align: left; vertical-align: top; overflow-wrap: anywhere }
code { font-size: .85em; overflow-wrap: anywhere }
.scroll { overflow-x: auto }
@media print { body { margin: 0; font-size: 11pt } section { break-inside: avoid-page } }
</style>
</head>
<body>
<main>
<h1>Receipt of a departure</h1>
<p>{{ receipt.person.displayName }}, {{ receipt.person.userName }}{% if receipt.person.employeeNumber %}, employee number {{ receipt.person.employeeNumber }}{% endif %}.
{{ receipt.organization.name }} says: {{ receipt.person.standing }} ({{ receipt.person.reason }}). Made on {{ receipt.made }}.</p>
{% for one in receipt.departures %}
<section>
<h2>{{ one.means | capitalize }} on {{ one.decided }}</h2>
<table>
<caption>What said so, and when</caption>
<tbody>
<tr><th scope="row">Because</th><td>{{ one.reason }}</td></tr>
<tr><th scope="row">By</th><td>{{ one.actor }}</td></tr>
{% if one.event %}
<tr><th scope="row">Message</th><td>{{ one.event.source }}, {{ one.event.id }}, received {{ one.event.received }}<br>SHA-256 of its bytes: <code>{{ one.event.sha256 }}</code></td></tr>
{% endif %}
<tr><th scope="row">Due</th><td>{{ one.due }}</td></tr>
<tr><th scope="row">Received</th><td>{{ one.received }}</td></tr>
<tr><th scope="row">Decided</th><td>{{ one.decided }}</td></tr>
{% if one.returned %}
<tr><th scope="row">Returned</th><td>{{ one.returned }}</td></tr>
{% endif %}
{% if one.reinstated is defined and one.reinstated %}
<tr><th scope="row">Reinstated</th><td>It was a mistake, says {{ one.reinstated.by }}: {{ one.reinstated.reason }} (entry {{ one.reinstated.entry }})</td></tr>
{% endif %}
<tr><th scope="row">Journal</th><td>entry {{ one.entry.number }}: {{ one.entry.verb }}{% if one.audit %}; leaf {{ one.audit.leaf }} of the audit tree, proved in the signed file{% else %}; not in a signed checkpoint yet{% endif %}</td></tr>
</tbody>
</table>
<div class="scroll" tabindex="0" role="region" aria-label="Places, departure {{ loop.index }}">
<table>
<caption>Every place, and how its end is known</caption>
<thead><tr><th scope="col">Place</th><th scope="col">Shut</th><th scope="col">Gone</th><th scope="col">ms from received to shut</th><th scope="col">Closed</th></tr></thead>
<tbody>
{% for target in one.targets %}
<tr>
<th scope="row">{{ target.place }}<br>({{ target.kind }})</th>
<td>{{ target.shut or "not yet" }}{% if target.shut_known %}<br>{{ target.shut_known }}{% endif %}</td>
<td>{{ target.gone or "not yet" }}{% if target.gone_known %}<br>{{ target.gone_known }}{% endif %}</td>
<td>{{ "" if target.ms_from_received_to_shut is none else target.ms_from_received_to_shut }}</td>
<td>{% for kind, count in target.closed.items() %}{{ count }} {{ kind | replace("_", " ") }}{{ "" if loop.last else ", " }}{% else %}nothing was there{% endfor %}{% if target.erased is defined and target.erased %}<br>erased on {{ target.erased }} ({{ target.erased_known }}){% endif %}</td>
</tr>
{% else %}
<tr><td colspan="5">There was no place to shut.</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% if one.open %}
<p><strong>Still open:</strong></p>
<ul>
{% for line in one.open %}
<li>{{ line }}</li>
{% endfor %}
</ul>
{% else %}
<p>Nothing is open.</p>
{% endif %}
</section>
{% else %}
<p>There is no departure.</p>
{% endfor %}
{% for one in receipt.moves | default([]) %}
<section>
<h2>Moved on {{ one.at }}</h2>
<p>{% if one.because %}{{ one.because.verb | capitalize }} by {{ one.because.actor }}: {{ one.because.because }} (entry {{ one.because.entry }}).{% else %}A day that was set has come.{% endif %}
{% for change in one.changed %}{{ change.attribute }}: {{ change.before or "nothing" }} before, {{ change.after or "nothing" }} after{{ "." if loop.last else "; " }}{% endfor %}</p>
<div class="scroll" tabindex="0" role="region" aria-label="Channels, move {{ loop.index }}">
<table>
<caption>What was joined and what was left</caption>
<thead><tr><th scope="col">Workspace</th><th scope="col">Channel</th><th scope="col">What</th><th scope="col">Since</th><th scope="col">Kept until</th><th scope="col">What can be read there</th></tr></thead>
<tbody>
{% for line in one.channels %}
<tr><th scope="row">{{ line.workspace }}</th><td>{{ line.channel }}</td><td>{{ line.what }}</td><td>{{ line.since or "not yet" }}</td><td>{{ line.kept_until or "" }}</td><td>{{ line.readable or "not known" }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
{% endfor %}
<p><small>This page shows what the signed file says and cannot be checked itself. Signed on {{ signed.at }} with key <code>{{ signed.kid }}</code>; signature <code>{{ signature }}</code>.
Check the file: <code>doorlist receipt --verify FILE --keys FILE</code>.</small></p>
</main>
</body>
</html>
"""
)


def page(file: Mapping[str, Any]) -> str:
    """The page of a signed receipt, given the file as it was read. Everything in it is escaped."""
    return _PAGE.render(receipt=file["receipt"], signed=file["signed"], signature=file["signature"])
