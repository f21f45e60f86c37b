#!/usr/bin/env python3
"""A GStreamer pipeline that calls itself: one `webrtcbin` sends a test picture and a test sound to another.

    pipeline.py SECONDS VIDEO_BITS_PER_SECOND AUDIO_BITS_PER_SECOND

Prints a line of JSON as soon as a picture was decoded, and one with what was counted in SECONDS from then on.
It runs in Debian's own Python, as the bindings are Debian's; no buffer passes through Python.
"""

import json
import re
import sys
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstWebRTC  # noqa: F401, the last for the types of promises

SECONDS, VIDEO, AUDIO = (int(argument) for argument in sys.argv[1:4])
SEND = f"""
webrtcbin name=near bundle-policy=max-bundle
webrtcbin name=far bundle-policy=max-bundle
videotestsrc is-live=true pattern=spokes ! video/x-raw,format=I420,width=640,height=360,framerate=30/1
    ! openh264enc bitrate={VIDEO} rate-control=bitrate gop-size=60
    ! rtph264pay config-interval=-1 aggregate-mode=zero-latency
    ! application/x-rtp,media=video,encoding-name=H264,payload=102 ! near.
audiotestsrc is-live=true samplesperbuffer=960 wave=ticks ! audio/x-raw,rate=48000,channels=1
    ! opusenc bitrate={AUDIO} ! rtpopuspay
    ! application/x-rtp,media=audio,encoding-name=OPUS,payload=111 ! near.
"""
RECEIVE = {
    "video": "rtph264depay ! h264parse ! openh264dec ! fakesink name=pictures sync=true",
    "audio": "rtpopusdepay ! opusdec ! fakesink sync=true",
}


def say(word, **facts):
    print(json.dumps([word, facts]), flush=True)


def fail(why):
    say("failed", why=why)
    loop.quit()


def promised(name, then):
    """A promise of a description, which is handed on."""
    def kept(promise):
        reply = promise.get_reply()
        description = reply and reply.get_value(name)
        if description is None:
            fail(f"no {name}")
        else:
            then(description)

    return Gst.Promise.new_with_change_func(kept)


def begin(_):
    near.emit("create-offer", None, promised("offer", offered))


def offered(offer):
    near.emit("set-local-description", offer, None)
    far.emit("set-remote-description", offer, None)
    far.emit("create-answer", None, promised("answer", answered))


def answered(answer):
    far.emit("set-local-description", answer, None)
    near.emit("set-remote-description", answer, None)


def came(_, pad):
    """A stream that the far end received: it is decoded, and timed as if it were shown."""
    stream = pad.get_current_caps().get_structure(0).get_string("media")
    end = Gst.parse_bin_from_description(RECEIVE[stream], True)
    pipeline.add(end)
    end.sync_state_with_parent()
    pad.link(end.get_static_pad("sink"))


def pictures():
    sink = pipeline.get_by_name("pictures")
    return sink.get_property("stats").get_value("rendered") if sink else 0


def bytes_received():
    promise = Gst.Promise.new()
    far.emit("get-stats", None, promise)
    promise.wait()
    return sum(int(count) for count in re.findall(r"bytes-received\W+guint64\W+(\d+)", promise.get_reply().to_string()))


def wait_for_first():
    if not pictures():
        return True
    say("first")
    began, before, bytes_before = time.monotonic(), pictures(), bytes_received()

    def over():
        say("done", pictures=pictures() - before, seconds=time.monotonic() - began,
            bytes=bytes_received() - bytes_before, codec="opus H264", version=Gst.version_string())
        loop.quit()

    GLib.timeout_add(SECONDS * 1000, over)
    return False


Gst.init(None)
loop = GLib.MainLoop()
pipeline = Gst.parse_launch(SEND)
near, far = pipeline.get_by_name("near"), pipeline.get_by_name("far")
# They would look for a router to open a port in. Kept, as these bindings take the elements' only reference.
agents = [one.get_property("ice-agent") for one in (near, far)]
for agent in agents:
    agent.get_property("agent").set_property("upnp", False)
near.connect("on-negotiation-needed", begin)
near.connect("on-ice-candidate", lambda _, line, candidate: far.emit("add-ice-candidate", line, candidate))
far.connect("on-ice-candidate", lambda _, line, candidate: near.emit("add-ice-candidate", line, candidate))
far.connect("pad-added", came)
bus = pipeline.get_bus()
bus.add_signal_watch()
bus.connect("message::error", lambda _, message: fail(str(message.parse_error())))
GLib.timeout_add(20, wait_for_first)
pipeline.set_state(Gst.State.PLAYING)
loop.run()
pipeline.set_state(Gst.State.NULL)
