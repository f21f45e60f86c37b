//! What one look at the box yields, and the pure parsers of the kernel's texts.

use std::{collections::BTreeMap, time::Instant};

use super::{Config, MAX_DEVICES, ProcessConfig};
use crate::Failure;

/// A part of a look: its value, or why there is none.
pub(super) type Look<T> = Result<T, Failure>;

/// Everything one look saw. Counters are as the kernel counts them, since boot.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// When the look was taken.
    pub(super) at: Instant,
    pub(super) cpu: Look<Cpu>,
    /// Load average of one minute.
    pub(super) load: Look<f64>,
    pub(super) cpu_pressure: Look<u64>,
    pub(super) memory_pressure: Look<u64>,
    pub(super) io_pressure: Look<u64>,
    pub(super) memory: Look<Memory>,
    pub(super) mounts: Look<BTreeMap<String, Look<Space>>>,
    pub(super) disks: Look<BTreeMap<String, Disk>>,
    pub(super) cards: Look<BTreeMap<String, Card>>,
    pub(super) sensors: Look<Vec<Sensor>>,
    /// Seconds since boot.
    pub(super) uptime: Look<f64>,
    /// What matched each configured process, in the order of the config.
    pub(super) processes: Look<Vec<Vec<Process>>>,
}

/// Processor time in ticks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticks {
    /// Neither idle nor waiting for disks; time taken by the hypervisor included, since the room
    /// cannot use it either.
    pub(super) busy: u64,
    pub(super) steal: u64,
    pub(super) total: u64,
}

/// Processor time of all processors and of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cpu {
    pub(super) whole: Ticks,
    pub(super) cores: BTreeMap<u32, Ticks>,
}

/// Memory in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    pub(super) total: u64,
    pub(super) available: u64,
    pub(super) swap_total: u64,
    pub(super) swap_used: u64,
}

/// Space of a file system, in blocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Space {
    pub(super) used: u64,
    /// Free for programs; what is kept back for the administrator is in neither number.
    pub(super) available: u64,
}

/// Bytes read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    pub(super) read: u64,
    pub(super) written: u64,
}

/// Traffic of one direction of a network card.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Traffic {
    pub(super) bytes: u64,
    pub(super) packets: u64,
    pub(super) errors: u64,
}

/// A network card.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Card {
    pub(super) received: Traffic,
    pub(super) transmitted: Traffic,
}

/// A temperature sensor, in degrees Celsius.
#[derive(Clone, Debug)]
pub(super) struct Sensor {
    pub(super) label: String,
    pub(super) id: String,
    pub(super) temperature: f64,
    /// Where the hardware itself takes action, if it says so.
    pub(super) critical: Option<f64>,
}

/// A process that matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) pid: u32,
    pub(super) parent: Option<u32>,
    /// Seconds since 1970; tells a process from a later one with the same id.
    pub(super) started: u64,
    /// Processor time so far, in milliseconds.
    pub(super) cpu_ms: u64,
    /// Resident memory in bytes.
    pub(super) memory: u64,
}

/// Reads `/proc/stat` (`man 5 proc_stat`): user nice system idle iowait irq softirq steal. The
/// guest columns are already part of user and nice.
pub(super) fn cpu(text: &str) -> Option<Cpu> {
    let mut cpu = Cpu::default();
    let mut whole = None;
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(name) = words.next().and_then(|name| name.strip_prefix("cpu")) else { continue };
        let columns: Vec<u64> = words.take(8).map_while(|word| word.parse().ok()).collect();
        let [.., idle, iowait, _, _, steal] = columns[..] else { return None };
        let total = columns.iter().try_fold(0u64, |sum, column| sum.checked_add(*column))?;
        let ticks = Ticks { busy: total - idle - iowait, steal, total };
        match name.parse() {
            Ok(core) => _ = cpu.cores.insert(core, ticks),
            Err(_) => whole = Some(ticks),
        }
    }
    cpu.whole = whole?;
    Some(cpu)
}

/// Reads the one-minute average of `/proc/loadavg`.
pub(super) fn load(text: &str) -> Option<f64> {
    text.split_ascii_whitespace().next()?.parse().ok().filter(|load: &f64| load.is_finite())
}

/// Reads `total` (microseconds) of the line `some` or `full` of a file under `/proc/pressure`.
pub(super) fn pressure(text: &str, line: &str) -> Option<u64> {
    let words = text.lines().find_map(|text| text.strip_prefix(line))?;
    words.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?.parse().ok()
}

/// Reads `/proc/diskstats`: name → bytes, of all block devices. A sector is always 512 bytes here.
pub(super) fn disks(text: &str) -> BTreeMap<String, Disk> {
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
        let [_, _, name, _, _, read, _, _, _, written] = words[..] else { return None };
        let bytes = |sectors: &str| sectors.parse::<u64>().ok()?.checked_mul(512);
        Some((name.to_owned(), Disk { read: bytes(read)?, written: bytes(written)? }))
    };
    text.lines().filter_map(parse).collect()
}

/// File systems whose blocks are on a local disk that can fill up.
const LOCAL: &[&str] =
    &["bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "reiserfs", "vfat", "xfs", "zfs"];

/// Chooses mount points from `/proc/self/mountinfo` (`man 5 proc_pid_mountinfo`): the configured
/// ones, or each local file system once.
pub(super) fn mounts(text: &str, config: &Config) -> Vec<String> {
    let mut chosen: BTreeMap<String, String> = BTreeMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [_, _, device, root, point, ..] = words[..] else { continue };
        let Some([kind, source, ..]) = words.iter().position(|word| *word == "-").and_then(|at| words.get(at + 1..))
        else {
            continue;
        };
        let point = unescape(point);
        if excluded(&point, &config.exclude_mounts) {
            continue;
        }
        if config.mounts.contains(&point) {
            chosen.insert(point.clone(), point);
            continue;
        }
        // A root below "/" is a bind mount, but for btrfs, which mounts subvolumes that way. An
        // overlay is the disk of a container at "/" and a duplicate of it anywhere else.
        let whole = *root == *"/" || *kind == "btrfs";
        let real = (LOCAL.contains(kind) && whole) || (*kind == "overlay" && point == "/");
        if !config.mounts.is_empty() || !real {
            continue;
        }
        let identity = if source.starts_with("/dev/") { *source } else { device };
        let kept = chosen.entry(identity.to_owned()).or_insert_with(|| point.clone());
        if (point.len(), &point) < (kept.len(), kept) {
            *kept = point;
        }
    }
    let mut points: Vec<String> = chosen.into_values().collect();
    points.sort_unstable();
    points.truncate(MAX_DEVICES);
    points
}

/// Undoes the kernel's octal escapes of blanks and backslashes.
fn unescape(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

fn excluded(name: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    })
}

/// Chooses devices: those configured, or all, physical ones first; never more than the bound.
pub(super) fn choose(names: impl Iterator<Item = (String, bool)>, config: &Config) -> Vec<String> {
    let mut names: Vec<(bool, String)> = names
        .filter(|(name, _)| config.devices.is_empty() || config.devices.contains(name))
        .filter(|(name, _)| !excluded(name, &config.exclude_devices))
        .map(|(name, physical)| (!physical, name))
        .collect();
    names.sort_unstable();
    names.truncate(MAX_DEVICES);
    names.into_iter().map(|(_, name)| name).collect()
}

/// Orders sensors by their distance to where the hardware takes action, so that the bound keeps
/// the hottest, and gives each a label of its own. Impossible values of broken sensors are left out.
pub(super) fn hottest(mut sensors: Vec<Sensor>) -> Vec<Sensor> {
    // Most parts throttle near 100 °C; used only to compare with sensors that say more.
    let margin = |sensor: &Sensor| sensor.critical.unwrap_or(100.0) - sensor.temperature;
    sensors.retain(|sensor| (-40.0..=150.0).contains(&sensor.temperature));
    let labels: Vec<String> = sensors.iter().map(|sensor| sensor.label.clone()).collect();
    for sensor in &mut sensors {
        if labels.iter().filter(|label| **label == sensor.label).count() > 1 {
            sensor.label = format!("{} {}", sensor.label, sensor.id);
        }
    }
    sensors.sort_by(|a, b| margin(a).total_cmp(&margin(b)).then_with(|| a.id.cmp(&b.id)));
    sensors.truncate(MAX_DEVICES);
    sensors
}

/// What is known of a running program.
#[derive(Clone, Debug, Default)]
pub(super) struct Program {
    /// The kernel's name of it, cut at 15 bytes.
    pub(super) short_name: String,
    /// File name of the executable; unknown for other users' processes.
    pub(super) executable: Option<String>,
    /// Its arguments, the program itself first.
    pub(super) arguments: Vec<String>,
}

/// Whether a program is the configured one.
pub(super) fn is_process(wanted: &ProcessConfig, program: &Program) -> bool {
    let invoked = program.arguments.first().map(|path| path.rsplit('/').next().unwrap_or(path));
    let named = program.executable.as_deref() == Some(&wanted.name)
        || invoked == Some(&wanted.name)
        // A script bears its own name here and its interpreter's everywhere else.
        || program.short_name == wanted.name;
    let argument = wanted.argument.as_deref();
    named && argument.is_none_or(|part| program.arguments.iter().skip(1).any(|argument| argument.contains(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Two cores; guest time (last columns) is part of user and nice.
    const STAT: &str = "cpu  100 5 45 800 40 3 2 5 50 0\ncpu0 90 5 40 300 20 3 2 5 50 0\ncpu1 10 0 5 500 20 0 0 0 0 0\n\
        intr 99 1 2\nctxt 7\nbtime 1700000000\n";

    #[test]
    fn processor_time_counts_guests_once_and_waiting_as_idle() {
        let cpu = cpu(STAT).expect("a recorded text");
        assert_eq!(cpu.whole, Ticks { busy: 160, steal: 5, total: 1000 });
        assert_eq!(cpu.cores[&0], Ticks { busy: 145, steal: 5, total: 465 });
        assert_eq!(cpu.cores.len(), 2);
    }

    #[test]
    fn other_texts_than_the_kernels_give_no_value() {
        for text in ["", "intr 1", "cpu  1 2", "cpu  a b c d e f g h", "cpu0 1 1 1 1 1 1 1 1"] {
            assert_eq!(cpu(text), None, "{text:?}");
        }
        assert_eq!(load("0.42 0.36 0.30 1/123 4567\n"), Some(0.42));
        assert_eq!(load("NaN 0 0"), None);
        assert_eq!(load(""), None);
    }

    #[test]
    fn pressure_is_the_total_of_the_line_asked_for() {
        let text = "some avg10=1.00 avg60=0.31 avg300=0.79 total=19163664\n\
            full avg10=0.00 avg60=0.00 avg300=0.00 total=42\n";
        assert_eq!(pressure(text, "some"), Some(19_163_664));
        assert_eq!(pressure(text, "full"), Some(42));
        // Older kernels have no such line for processors.
        assert_eq!(pressure("some avg10=0.00 total=1\n", "full"), None);
    }

    #[test]
    fn disks_are_counted_in_sectors_of_512_bytes() {
        let text = " 253 0 vda 4000 10 800 50 300 7 1600 90 0 80 140 0 0 0 0 0 0\n   7 0 loop0 1 0 2 0 0 0 0 0 0 0 0\nbroken\n";
        let disks = disks(text);
        assert_eq!(disks["vda"], Disk { read: 409_600, written: 819_200 });
        assert_eq!(disks.len(), 2);
    }

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
30 27 0:27 / /run rw - tmpfs tmpfs rw
31 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
32 27 254:0 /srv/data /srv/bind rw - ext4 /dev/vda1 rw
33 27 254:2 / /var/lib/My\\040Films rw - xfs /dev/vdb rw
34 27 254:2 / /mnt/again rw - xfs /dev/vdb rw
35 27 0:50 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
36 27 0:60 / /home rw - nfs4 server:/home rw
37 27 0:40 /@var /data rw - btrfs /dev/vdc rw
short line
";

    #[test]
    fn each_real_file_system_is_measured_once_at_its_shortest_mount_point() {
        assert_eq!(mounts(MOUNTS, &Config::default()), ["/", "/data", "/mnt/again"]);
        let container = "1 0 0:50 / / rw - overlay overlay rw\n2 1 254:0 /x/hosts /etc/hosts rw - ext4 /dev/vda1 rw\n";
        assert_eq!(mounts(container, &Config::default()), ["/"]);
    }

    #[test]
    fn config_decides_which_mounts_count_and_the_bound_holds() {
        let config = Config { mounts: vec!["/home".to_owned(), "/var/lib/My Films".to_owned()], ..Config::default() };
        assert_eq!(mounts(MOUNTS, &config), ["/home", "/var/lib/My Films"]);
        let config = Config { exclude_mounts: vec!["/mnt*".to_owned(), "/".to_owned()], ..Config::default() };
        assert_eq!(mounts(MOUNTS, &config), ["/data", "/var/lib/My Films"]);
        let many: String = (0..20).map(|n| format!("1 1 8:{n} / /m{n} rw - ext4 /dev/sd{n} rw\n")).collect();
        assert_eq!(mounts(&many, &Config::default()).len(), MAX_DEVICES);
    }

    #[test]
    fn physical_devices_come_first_when_there_are_too_many() {
        let names = (0..12).map(|n| (format!("veth{n:02}"), false)).chain([("wlan0".to_owned(), true)]);
        let chosen = choose(names.clone(), &Config::default());
        assert_eq!(chosen.len(), MAX_DEVICES);
        assert_eq!(chosen[0], "wlan0");
        let config = Config { exclude_devices: vec!["veth*".to_owned()], ..Config::default() };
        assert_eq!(choose(names.clone(), &config), ["wlan0"]);
        let config = Config { devices: vec!["veth03".to_owned()], ..Config::default() };
        assert_eq!(choose(names, &config), ["veth03"]);
    }

    #[test]
    fn the_sensor_nearest_to_its_critical_value_comes_first_and_labels_are_unique() {
        let sensor = |label: &str, id: &str, temperature, critical| Sensor {
            label: label.to_owned(),
            id: id.to_owned(),
            temperature,
            critical,
        };
        let order = hottest(vec![
            sensor("cpu", "a", 80.0, None),
            sensor("disk", "b", 60.0, Some(65.0)),
            sensor("disk", "c", 40.0, Some(85.0)),
            sensor("broken", "d", -273.0, None),
            sensor("open", "e", f64::NAN, None),
        ]);
        let labels: Vec<&str> = order.iter().map(|sensor| &*sensor.label).collect();
        assert_eq!(labels, ["disk b", "cpu", "disk c"]);
    }

    #[test]
    fn a_process_is_known_by_executable_invocation_or_script_name_and_by_its_argument() {
        let program = |short: &str, executable: Option<&str>, arguments: &[&str]| Program {
            short_name: short.to_owned(),
            executable: executable.map(str::to_owned),
            arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        };
        let wanted = |name: &str, argument: Option<&str>| ProcessConfig {
            name: name.to_owned(),
            argument: argument.map(str::to_owned),
            component: None,
        };
        let java = program("java", Some("java"), &["/usr/bin/java", "-cp", "/opt/jvb/videobridge.jar"]);
        let long = program("jitsi-videobrid", None, &["/usr/sbin/jitsi-videobridge", "--x"]);
        let script = program("janus-wrap", Some("python3.12"), &["python3", "/usr/bin/janus-wrap"]);
        for (wanted, program, expected) in [
            (wanted("java", None), &java, true),
            (wanted("java", Some("videobridge")), &java, true),
            (wanted("java", Some("jicofo")), &java, false),
            (wanted("jav", None), &java, false),
            (wanted("jitsi-videobridge", None), &long, true),
            // The program's own path is no argument.
            (wanted("jitsi-videobridge", Some("videobridge")), &long, false),
            (wanted("janus-wrap", None), &script, true),
        ] {
            assert_eq!(is_process(&wanted, program), expected, "{wanted:?}");
        }
    }
}
