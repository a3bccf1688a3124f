"""Chat templates are rendered as transformers does, and a hostile one ends in a sentence."""

import multiprocessing
import os

import pytest

from velm_lightning.errors import InputError
from velm_lightning.text import chat_template
from velm_lightning.text.chat_template import render

TURNS = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": 'What is "<b>"? {{ 7 * 7 }}'},
    {"role": "assistant", "content": "A tag.\n"},
]
CHATML = """{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message.role == 'assistant' %}
{%- generation %}{{ message['content'] | trim }}<|im_end|>{% endgeneration %}
{%- else %}
{{- message['content'] + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- if loop.last and not add_generation_prompt %}{% break %}{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
{{- messages[1] | tojson }}{{ bos_token }}"""


@pytest.fixture(autouse=True)
def end_process():
    yield
    chat_template._process().close()


@pytest.mark.parametrize("prompt", [False, True])
def test_a_template_is_rendered_as_by_transformers(prompt):
    from transformers.utils.chat_template_utils import render_jinja_template

    expected, _ = render_jinja_template([TURNS], chat_template=CHATML, add_generation_prompt=prompt, bos_token="<s>")
    assert render(CHATML, TURNS, variables={"add_generation_prompt": prompt, "bos_token": "<s>"}) == expected[0]


def test_text_in_a_message_is_no_template():
    assert render("{{ messages[1].content }}", TURNS) == TURNS[1]["content"]


def test_the_day_of_a_template_is_always_the_same():
    assert render("{{ strftime_now('%d %b %Y') }}", TURNS) == "26 Jul 2024"


NO_CODE = [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.__class__.__base__.__subclasses__()[0] }}",
    "{{ cycler.__init__.__globals__.os.system('touch MARK') }}",
    "{{ lipsum.__globals__['os'].popen('touch MARK').read() }}",
    "{{ raise_exception.__globals__['sys'].modules }}",
    "{{ strftime_now.__self__.__reduce_ex__(2) }}",
    "{{ self.__init__.__globals__ }}",
    "{{ (messages | attr('__class__')).mro() }}",
    "{{ ['x'] | map(attribute='__class__.__mro__') | list }}",
    "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "{% set f = '{0.__class__}'.format %}{{ f(messages) }}",
    "{{ messages.append(1) }}",
    "{{ messages[0].update(role='x') }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os }}",
]


@pytest.mark.parametrize("template", NO_CODE)
def test_a_template_runs_no_code_and_reads_no_file(template, tmp_path):
    mark = tmp_path / "mark"
    refused, text = None, ""
    try:
        text = render(template.replace("MARK", str(mark)), TURNS)
    except InputError as error:
        refused = str(error)
    assert refused is None or refused.startswith("chat template: ")
    assert not text.strip("[], '"), text  # the sandbox hides some names, and an undefined name is empty
    assert not mark.exists()


TOO_MUCH = {
    "output": "{% for i in range(99999) %}{{ 'x' * 99 }}{% endfor %}",
    "one output": "{{ 'x' * 2000000 }}",
    "memory": "{{ ('x' * 10 ** 12) | length }}",
    "padding": "{{ ('x' | center(10 ** 12)) | length }}",
    "format": "{{ ('%1000000000000d' % 1) | length }}",
    "replacing": "{% set ns = namespace(x='x' * 9999) %}{% for i in range(9) %}"
    "{% set ns.x = ns.x.replace('x', ns.x) %}{% endfor %}",
    "a huge range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "a macro of itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "brackets": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "lists": "{{ " + "[" * 100000 + "]" * 100000 + " }}",
    "no template": "{% for %}",
    "half a character": r"{{ '\ud800' }}",
    "an unknown block": "{% nothing %}",
    "a refusal": "{{ raise_exception('only two roles') }}",
    "a loop": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "a power": "{{ (9 ** (9 ** 9)) % 7 }}",
}


@pytest.mark.parametrize("name", TOO_MUCH)
def test_a_template_that_takes_too_much_ends_in_a_sentence(name):
    render("", TURNS)  # starts the process, which is not part of the limit
    with pytest.raises(InputError, match=r"^chat template: .*: correct it, or use another template$") as caught:
        render(TOO_MUCH[name], TURNS, seconds=1)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert render("{{ messages | length }}", TURNS) == "3"  # the next call works


def test_a_large_conversation_goes_through_the_pipes():
    long = [{"role": "user", "content": "ä" * 500_000}]
    assert render("{{ messages[0].content }}", long) == "ä" * 500_000


def _in_child(pipe):
    pipe.send((os.getpid(), render("{{ messages[0] }}", ["child"])))


def test_a_forked_process_renders_by_a_process_of_its_own():
    assert render("{{ messages[0] }}", ["parent"]) == "parent"
    first = chat_template._process().process.pid
    receive, send = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_in_child, args=(send,))
    child.start()
    assert receive.recv()[1] == "child"
    child.join()
    assert render("{{ messages[0] }}", ["again"]) == "again"
    assert chat_template._process().process.pid == first
    receive.close()
    send.close()
