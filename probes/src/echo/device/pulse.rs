//! Sound by the PulseAudio protocol, which PipeWire serves as well.
//!
//! Streams are one channel of 16 bit at 48 kHz; the server mixes and converts what devices have otherwise:
//! what is played goes to all channels of a loudspeaker alike, and a microphone of several channels is
//! heard as their mean. No device's volume is touched. Our own streams start unmuted and at 100 % of their
//! device, whatever the server remembers of us, and may not be moved to another device.

use std::{ffi::CString, future::Future, path::Path, time::Duration};

use pulseaudio::protocol::{
    self, AuthParams, AuthReply, ChannelVolume, Command, MAX_VERSION, MIN_VERSION, Prop, Props, ServerInfo,
    SetClientNameReply, SinkFlags, SinkInfo, SourceFlags, SourceInfo, TagStructRead,
};
use tokio::time::timeout;

use self::{
    streams::Streams,
    wire::{Message, Wire},
};
use super::{
    Course, Plan,
    choose::{Candidate, Role, choose, is_processed},
};
use crate::{
    Failure, Reason,
    echo::{
        buffer::Buffer,
        config::Config,
        take::{Device, Devices},
    },
};

mod server;
mod streams;
mod wire;

#[cfg(test)]
mod tests;

/// How long the server may take for an answer.
const ANSWER: Duration = Duration::from_secs(3);
/// The most devices that are looked at.
const MOST_DEVICES: usize = 1000;

/// A server, and the devices chosen there.
#[derive(Debug)]
pub(crate) struct Session {
    wire: Wire,
    devices: Devices,
    sink: u32,
    source: u32,
    reference: Option<u32>,
    /// Whether the volume of the loudspeaker, the microphone, the reference follows that of the loudest of
    /// its streams, so that a stream's own must not be set.
    flat: [bool; 3],
    /// Whether the microphone, the reference is the monitor of a loudspeaker.
    monitors: [bool; 2],
}

impl Session {
    /// Connects, and finds the devices.
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
        let mut wire = connect(config.server.as_deref()).await?;
        let info: ServerInfo = ask(&mut wire, "to say what it is", Command::GetServerInfo).await?;
        let mut sinks: Vec<SinkInfo> = list(&mut wire, "to list loudspeakers", Command::GetSinkInfoList).await?;
        let mut sources: Vec<SourceInfo> = list(&mut wire, "to list microphones", Command::GetSourceInfoList).await?;
        sinks.truncate(MOST_DEVICES);
        sources.truncate(MOST_DEVICES);

        let default = |name: &Option<CString>| name.as_ref().map(|name| name.to_string_lossy().into_owned());
        let outputs: Vec<Candidate> = sinks.iter().map(output).collect();
        let inputs: Vec<Candidate> = sources.iter().map(input).collect();
        let place =
            choose(Role::Loudspeaker, &config.loudspeaker, default(&info.default_sink_name).as_deref(), &outputs)?;
        let (sink, output) = (&sinks[place], &outputs[place]);
        let place =
            choose(Role::Microphone, &config.microphone, default(&info.default_source_name).as_deref(), &inputs)?;
        let (source, input) = (&sources[place], &inputs[place]);
        let reference = match config.reference.as_str() {
            "none" => None,
            // Not every server has one for every loudspeaker.
            "monitor" => sources.iter().find(|source| source.monitor_of_sink_index == Some(sink.index)),
            wanted => Some(&sources[choose(Role::Reference, wanted, None, &inputs)?]),
        };
        let decibels = |known: bool, volume: &ChannelVolume| if known { decibels(volume) } else { None };
        let devices = Devices {
            loudspeaker: Device {
                name: output.name.clone(),
                muted: sink.muted || is_silent(&sink.cvolume),
                volume_decibels: decibels(sink.flags.contains(SinkFlags::DECIBEL_VOLUME), &sink.cvolume),
                is_processed: is_processed(output, &outputs),
            },
            microphone: Device {
                name: input.name.clone(),
                muted: source.muted || is_silent(&source.cvolume),
                volume_decibels: decibels(source.flags.contains(SourceFlags::DECIBEL_VOLUME), &source.cvolume),
                is_processed: is_processed(input, &inputs),
            },
        };
        let flat = |source: &SourceInfo| source.flags.contains(SourceFlags::FLAT_VOLUME);
        let flat = [sink.flags.contains(SinkFlags::FLAT_VOLUME), flat(source), reference.is_some_and(flat)];
        let monitor = |source: &SourceInfo| source.monitor_of_sink_index.is_some();
        let monitors = [monitor(source), reference.is_some_and(monitor)];
        let reference = reference.map(|source| source.index);
        Ok(Self { sink: sink.index, source: source.index, reference, flat, monitors, devices, wire })
    }

    /// What was found.
    pub(super) fn devices(&self) -> &Devices {
        &self.devices
    }

    /// Whether the loudspeaker's sound is heard.
    pub(super) fn has_reference(&self) -> bool {
        self.reference.is_some()
    }

    /// Makes a take. The server ends all streams of a connection with it, so that dropping this frees the
    /// devices, too.
    pub(super) async fn take(mut self, plan: Plan<'_>, buffer: Buffer) -> Result<(Course, Buffer), Failure> {
        (plan.microphone)();
        self.wire.lost = Reason::DeviceLost;
        let mut streams = Streams::open(self, buffer, plan.sound.is_some()).await?;
        let course = streams.run(plan).await?;
        let buffer = streams.close().await;
        Ok((course, buffer))
    }
}

/// Connects to a server and makes ourselves known.
async fn connect(server: Option<&Path>) -> Result<Wire, Failure> {
    let mut wire = Wire::new(server::connect(server).await?);
    let login =
        AuthParams { version: MAX_VERSION, supports_shm: false, supports_memfd: false, cookie: server::cookie() };
    let reply: AuthReply = ask(&mut wire, "to let us in", Command::Auth(login)).await?;
    if reply.version < MIN_VERSION {
        let detail = format!("the sound server speaks protocol {}, not {MIN_VERSION} or later", reply.version);
        return Err(Failure::new(Reason::NoServer, detail));
    }
    wire.version = reply.version.min(MAX_VERSION);
    let mut properties = Props::new();
    properties.set(Prop::ApplicationName, c"bellwether");
    let number = CString::new(std::process::id().to_string()).unwrap_or_default();
    properties.set(Prop::ApplicationProcessId, number);
    let _: SetClientNameReply = ask(&mut wire, "to know our name", Command::SetClientName(properties)).await?;
    Ok(wire)
}

/// Asks for what has one answer, before there are streams.
async fn ask<R: TagStructRead>(wire: &mut Wire, what: &str, command: Command) -> Result<R, Failure> {
    answered(wire, what, command).await?;
    wire.reply()
}

/// Asks for a list.
async fn list<R: TagStructRead>(wire: &mut Wire, what: &str, command: Command) -> Result<Vec<R>, Failure> {
    answered(wire, what, command).await?;
    wire.replies()
}

/// Asks, and waits until the answer is there to be read.
async fn answered(wire: &mut Wire, what: &str, command: Command) -> Result<(), Failure> {
    let request = wire.send(&[command]).await?;
    let answer = async {
        loop {
            match wire.next().await? {
                Message::Reply(number) if number == request => return Ok(()),
                Message::Refused(number, error) if number == request => return Err(wire::refusal(what, error)),
                Message::Sound(_) => {
                    return Err(Failure::new(Reason::NoServer, "the sound server sent sound nobody asked for"));
                }
                _ => {}
            }
        }
    };
    in_time(what, answer).await
}

/// No answer for too long is a server that stalls.
async fn in_time<T>(what: &str, answer: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout(ANSWER, answer).await.unwrap_or_else(|_| {
        let seconds = ANSWER.as_secs();
        Err(Failure::new(Reason::Stalled, format!("the sound server, asked {what}, did not answer for {seconds} s")))
    })
}

fn output(sink: &SinkInfo) -> Candidate {
    Candidate {
        name: sink.name.to_string_lossy().into_owned(),
        is_monitor: false,
        properties: properties(&sink.props),
        driver: text(sink.driver.as_ref()),
    }
}

fn input(source: &SourceInfo) -> Candidate {
    Candidate {
        name: source.name.to_string_lossy().into_owned(),
        is_monitor: source.monitor_of_sink_index.is_some(),
        properties: properties(&source.props),
        driver: text(source.driver.as_ref()),
    }
}

fn text(text: Option<&CString>) -> String {
    text.map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

fn properties(properties: &Props) -> Vec<(String, String)> {
    let word = |bytes: &[u8]| String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned();
    properties.iter().map(|(key, value)| (key.to_string_lossy().into_owned(), word(value))).collect()
}

/// The mean volume of all channels, in decibels; `None` if it is silence.
fn decibels(volume: &ChannelVolume) -> Option<f64> {
    let channels = volume.channels();
    let sum: f64 = channels.iter().map(|channel| f64::from(channel.as_u32())).sum();
    let mean = sum / channels.len().max(1) as f64 / f64::from(protocol::Volume::NORM.as_u32());
    // PulseAudio's scale is cubic.
    (mean > 0.0).then(|| 60.0 * mean.log10())
}

/// A volume of nothing is a device that is muted otherwise.
fn is_silent(volume: &ChannelVolume) -> bool {
    volume.channels().iter().all(|channel| *channel == protocol::Volume::MUTED)
}
