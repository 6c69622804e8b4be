"""Templates that mean harm: each is refused quickly and in little memory, and none reaches Python."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from localsynth.chat import derive
from localsynth.chat.limits import MAX_SOURCE, spending
from localsynth.chat.template import Script, compile_template
from localsynth.errors import TemplateRefused

NAMESPACE = "{% set ns = namespace(x=START) %}{% for i in range(60) %}{% set ns.x = STEP %}{% endfor %}{{ ns.x }}"


def grow(start: str, step: str) -> str:
    return NAMESPACE.replace("START", start).replace("STEP", step)


def loops(body: str, depth: int = 3) -> str:
    opened = "".join(f"{{% for i{level} in range(9999) %}}" for level in range(depth))
    return opened + body + "{% endfor %}" * depth


HOSTILE = {
    "loops without output": loops(""),
    "loops that filter all away": "{% for a in range(9999) %}{% for b in range(9999) if false %}{% endfor %}{% endfor %}",
    "loops with output": loops("y" * 5000),
    "range": "{% for a in range(10**9) %}{% endfor %}",
    "endless macro": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "branching macro": "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "endless block": "{% block a %}{{ self.a() }}{% endblock %}",
    "endless recursive loop": "{% for i in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "call blocks": "{% macro m() %}{{ caller() }}{{ caller() }}{% endmacro %}" + "{% call m() %}" * 18 + "z" * 99 + "{% endcall %}" * 18,
    "multiplied text": "{{ 'a'*10**10 }}",
    "multiplied text, constant": "{{ 'a'*10000000000 }}",
    "multiplied list": "{{ [1]*10**9 }}",
    "doubled by ~": grow("'a'", "ns.x ~ ns.x"),
    "doubled by +": grow("'a'", "ns.x + ns.x"),
    "doubled list": grow("[1]", "ns.x + ns.x"),
    "nested list": grow("[1]", "[ns.x, ns.x]"),
    "nested tuple as key": "{% set ns = namespace(x=(1,)) %}{% for i in range(60) %}{% set ns.x = (ns.x, ns.x) %}{% endfor %}{{ {ns.x: 1} }}",
    "captured": "{% set ns = namespace(x='a') %}{% for i in range(60) %}{% set y %}{{ ns.x }}{{ ns.x }}{% endset %}{% set ns.x = y %}{% endfor %}",
    "namespaces in a circle": "{% set a = namespace() %}{% set b = namespace(x=[a, a]) %}{% set a.x = [b, b] %}" + loops("{{ a }}"),
    "power": "{{ 10**(10**9) }}",
    "power of numbers": "{{ 2**9999 * 2**9999 }}",
    "squared": grow("3", "ns.x * ns.x"),
    "percent width": "{{ '%1000000000d' % 1 }}",
    "percent star": "{{ '%*d' % (1000000000, 1) }}",
    "many percents": "{{ '" + "%99999d" * 5 + "' % (1,1,1,1,1) }}",
    "format width": "{{ '{:>999999999}'.format(1) }}",
    "format width from a value": "{{ '{:{w}}'.format(1, w=999999999) }}",
    "format width from deep in a value": "{{ '{0:{1[0]}}'.format(1, [999999999]) }}",
    "format width from a text": "{{ '{:{{{w}}}}'.format(1, w='<999999999') }}",
    "format_map": "{{ '{a:>999999999}'.format_map({'a': 1}) }}",
    "format filter": "{{ '%999999999d'|format(1) }}",
    "center filter": "{{ 'x'|center(10**9) }}",
    "center": "{{ 'x'.center(10**9) }}",
    "ljust": "{{ 'x'.ljust(1000000000) }}",
    "zfill": "{{ 'x'.zfill(1000000000) }}",
    "expandtabs": "{{ '\t'.expandtabs(1000000000) }}",
    "translate": "{{ 'a'.translate({97: 'b'*100000}) }}",
    "indent": "{{ ('a\n'*1000)|indent(10000) }}",
    "replace filter": "{{ ('a'*50000)|replace('a','b'*50000) }}",
    "replace": "{{ ('a'*50000).replace('','b'*50000) }}",
    "join filter": "{{ ('a'*50000)|join('b'*50000) }}",
    "join": "{{ ('b'*50000).join('a'*50000) }}",
    "join of a generator": "{{ range(9999)|map('string')|join('b'*50000) }}",
    "batch": "{{ [1]|batch(10**9, 0)|list }}",
    "slice": "{{ [1]|slice(10**9, 0)|list }}",
    "slices": "{% set l = 'a'*90000 %}{{ " + " ~ ".join(["l[::2][:1]"] * 900) + " }}",
    "searches": "{% set l = range(9999)|list %}" + loops("{{ -1 in l }}"),
    "searching filter": "{% set l = range(9999)|list %}{{ range(9999, 19998)|select('in', l)|list }}" * 9,
    "sorting": loops("{{ range(9999)|sort|first }}"),
    "sum of lists": "{{ range(9999)|map('string')|map('list')|sum(start=[]) }}",
    "tojson": "{{ [[[1]]]|tojson(indent=10**9) }}",
    "escape": "{{ ('<'*90000)|escape|escape|escape|escape }}",
    "lazy chain": "{{ range(9999)|map('center', 9999)|list }}",
    "big int from text": "{{ ('f'*90000)|int(0, 16) }}",
    "bytes": "{{ (5).to_bytes(1000000000,'big') }}",
    "encode": "{{ 'x'.encode() }}",
    "dunder": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "dunder by filter": "{{ (''|attr('__class__')).x() }}",
    "dunder by format": "{{ '{0.__class__.__mro__[1].x}'.format('') }}",
    "globals": "{{ cycler.__init__.__globals__ }}",
    "lipsum": "{{ lipsum.__globals__['os'].popen('id').read() }}",
    "lipsum text": "{{ lipsum(n=10000, max=100000) }}",
    "cycler": "{% set c = cycler('a', 'b') %}" + loops("{{ c.next() }}"),
    "joiner": "{% set j = joiner('b'*90000) %}" + loops("{{ j() }}"),
    "append": "{{ messages.append(1) }}",
    "update": "{{ messages[0].update({'content': 'x'}) }}",
    "include": "{% include '/etc/passwd' %}",
    "import": "{% import 'os' as o %}",
    "extends": "{% extends 'x' %}",
    "long date": "{{ strftime_now('%Y'*1000) }}",
    "long source": "x" * (MAX_SOURCE + 1),
    "many expressions": "{{a}}" * 12000,
    "many comparisons": "{{ " + "a<" * 25000 + "a }}",
    "deep brackets": "{{ " + "[" * 900 + "]" * 900 + " }}",
    "deep parentheses": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "deep filters": "{{ a" + "|e" * 2000 + " }}",
    "deep sum": "{{ " + "+".join(["1"] * 20000) + " }}",
    "deep loops": "{% for a in [1] %}" * 200 + "{% endfor %}" * 200,
    "deep ifs": "{% if a %}" * 1500 + "{% endif %}" * 1500,
    "open comments": "{#" * 20000,
    "urlize": "{{ ('www.'*10000)|urlize }}",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_templates_are_refused_in_time(name):
    begin = time.thread_time()
    with pytest.raises(TemplateRefused) as caught:
        derive(HOSTILE[name])
    assert time.thread_time() - begin < 2
    assert caught.value.message.isprintable()


MEASURE = """
import resource, sys
from localsynth.chat import derive
from localsynth.errors import TemplateRefused
sys.path.insert(0, sys.argv[1])
from test_chat_sandbox import HOSTILE
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for source in HOSTILE.values():
    try:
        derive(source)
    except TemplateRefused as refused:
        assert "MemoryError" not in refused.message, refused.message
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is measured in Linux's units")
def test_hostile_templates_take_little_memory(request):
    folder = str(request.path.parent)
    done = subprocess.run([sys.executable, "-c", MEASURE, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150  # MB above the interpreter with everything imported


def test_message_of_a_template_is_one_printable_line():
    with pytest.raises(TemplateRefused) as caught:
        derive("{{ raise_exception('stop \x1b[31m here\n\n' * 100) }}")
    assert "\x1b" not in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 300


def render(source: str, text: str = "hi") -> str:
    import datetime as dt

    return Script(compile_template(source), {}, dt.date(2025, 1, 2)).render([("user", text)])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("{{ messages | tojson }}", '[{"role": "user", "content": "hi"}]'),
        ("{{ {'a': '<é>&'} | tojson(indent=2) }}", '{\n  "a": "<é>&"\n}'),
        ("{{ strftime_now('%d %b %Y') }}", "02 Jan 2025"),
        ("{% for i in range(9) %}{% if i == 2 %}{% continue %}{% endif %}{% if i > 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "013"),
        ("{% generation %}{% set x = 1 %}{{ messages[0].content }}{% endgeneration %}!", "hi!"),
        ("  {% if true %}\n  x\n  {% endif %}\ny", "  x\ny"),
        ("{{ '%s has %03d' % ('a', 7) }} {{ '{:>4}|{x}'.format(1, x='{') }}", "a has 007    1|{"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(',') }}", "hi"),
        ("{{ (messages | selectattr('role', 'equalto', 'tool')) is true }}", "False"),
        ("{{ 'a-b-c'.split('-', 1)[-1] }}{{ 1700000000 | default(5) }}{{ 'x'.replace('x', 'yy') }}", "b-c1700000000yy"),
        ("{% for a, b in {'k': 'v'}.items() %}{{ a ~ b }}{% endfor %}{{ loop is defined }}", "kvFalse"),
        ("{% for m in messages if m.role == 'user' %}{{ loop.index }}/{{ loop.length }}{% endfor %}", "1/1"),
        ("{{ undefined_thing }}{{ messages[0].get('tool_calls') }}{{ messages[-1]['content'][::-1] }}", "Noneih"),
    ],
)  # fmt: skip
def test_what_transformers_offers_is_offered(source, expected):
    assert render(source) == expected


def test_long_texts_are_no_harm():
    text = "word " * 200_000
    assert (
        render("{% for m in messages %}{{ '<u>' + m.content.strip() ~ '</u>' }}{% endfor %}", text)
        == f"<u>{text.strip()}</u>"
    )


def test_a_purse_is_shared_by_the_renderings_inside():
    for _ in range(30):
        costly()
    with pytest.raises(TemplateRefused, match="too much work"), spending():
        costly(30)


def costly(times: int = 1) -> None:
    for _ in range(times):
        render("{% for i in range(9999) %}{{ i }}{% endfor %}")
