"""Writes twiml-samples.json: documents made by the official SDK, against which the pretend network's reader is held.

Run once: pip install twilio==9.13.0, then python generate_twiml.py > twiml-samples.json
"""

import json
import sys

from twilio.twiml.voice_response import (
    Connect, Dial, Enqueue, Gather, Prompt, Start, Stop, Stream, VoiceResponse,
)

samples = []


def sample(name, response):
    samples.append({"name": name, "document": str(response)})


r = VoiceResponse()
r.say("Tom & Jerry say \"5 < 6\" – ünïcode ☎", voice="Polly.Joanna", language="en-GB", loop=2)
r.play("https://example.com/a.mp3?x=1&y=2", loop=0)
r.play("", digits="ww12#")
r.pause(length=3)
r.redirect("https://example.com/next?x=1&a=2", method="POST")
sample("sounds", r)

r = VoiceResponse()
g = Gather(input="dtmf speech", num_digits=1, timeout=4, finish_on_key="", action="/next?x=1&a=1",
           action_on_empty_result=True, barge_in=False, hints="sales, support", speech_timeout="auto")
g.say("Press 1")
g.pause(length=1)
g.play("menu.wav")
r.append(g)
r.hangup()
sample("gather", r)

r = VoiceResponse()
d = Dial(action="/done", method="GET", timeout=12, hangup_on_star=True, time_limit=90, caller_id="+15550001111",
         record="record-from-answer-dual", answer_on_bridge=True, recording_status_callback="/rec")
d.number("+15551234567", send_digits="wwww1", status_callback="https://e.com/s",
         status_callback_event="initiated ringing answered completed", status_callback_method="GET")
d.client("alice")
d.sip("sip:bob@example.com;transport=tcp")
r.append(d)
sample("dial", r)

r = VoiceResponse()
d = Dial()
d.conference("room 1", muted=True, beep="onEnter", start_conference_on_enter=False, end_conference_on_exit=True,
             wait_url="", participant_label="caller", status_callback="https://e.com/c",
             status_callback_event="start end join leave modify", record="record-from-start")
r.append(d)
sample("conference", r)

r = VoiceResponse()
r.dial("+15557654321")
sample("dial a bare number", r)

r = VoiceResponse()
d = Dial()
d.queue("support", url="/whisper")
r.append(d)
sample("dial a queue", r)

r = VoiceResponse()
e = Enqueue("support", action="/next?x=2", wait_url="/wait?x=2", wait_url_method="POST", max_queue_size=5)
r.append(e)
sample("enqueue", r)

r = VoiceResponse()
e = Enqueue(None, workflow_sid="WW0123456789abcdef0123456789abcdef")
e.task('{"language":"en"}', priority=5, timeout=30)
r.append(e)
sample("enqueue a task", r)

r = VoiceResponse()
r.record(action="/recorded", timeout=7, finish_on_key="*#", max_length=30, play_beep=False,
         recording_status_callback="/rec", recording_status_callback_event="completed")
r.reject(reason="busy")
r.leave()
sample("record and reject", r)

r = VoiceResponse()
c = Connect(action="/next?x=1")
s = Stream(url="wss://example.com/wss/CA1/token", name="main", status_callback="https://e.com/st")
s.parameter(name="callSid", value="CA1")
s.parameter(name="who", value="a \"quoted\" <name> & more")
c.append(s)
r.append(c)
r.redirect("https://example.com/next?x=1#rc=5&rp=all&ct=1000&tt=15000", method="POST")
sample("stream", r)

r = VoiceResponse()
s = Start()
s.recording(recording_status_callback="/rec", recording_status_callback_event="in-progress completed", channels="mono")
r.append(s)
s = Stop()
s.recording() if hasattr(s, "recording") else s.nest(__import__("twilio.twiml.voice_response", fromlist=["Recording"]).Recording())
r.append(s)
sample("recording", r)

r = VoiceResponse()
say = r.say("Hello ")
say.break_(time="500ms")
say.emphasis("dear", level="strong")
say.prosody(" caller", rate="slow")
sample("ssml", r)

r = VoiceResponse()
sample("empty", r)

r = VoiceResponse()
r.say("Bye", foo="bar")
r.sms("hi", to="+1555")
sample("foreign", r)

json.dump(samples, sys.stdout, indent=1, ensure_ascii=False)
print()
