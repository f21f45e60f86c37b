//! The shell: reads the kernel's files and asks sysinfo.

#![expect(clippy::disallowed_methods, reason = "a shell: it measures on the clock")]

use std::{
    collections::BTreeMap,
    ffi::{CString, OsStr},
    fs, io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::Instant,
};

use sysinfo::{
    Components, MemoryRefreshKind, Networks, ProcessRefreshKind, ProcessStatus, ProcessesToUpdate, System, UpdateKind,
};

use super::{
    Config,
    snapshot::{self, Card, Look, Memory, Process, Program, Sensor, Snapshot, Space, Traffic},
};
use crate::{Failure, Reason};

/// Where the kernel's file systems are; tests pass recorded trees.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    pub(super) proc: PathBuf,
    pub(super) sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// What sysinfo keeps between looks; made when first needed.
#[derive(Debug, Default)]
pub(super) struct Handles {
    system: Option<System>,
    networks: Option<Networks>,
    components: Option<Components>,
}

/// Looks once. Blocks for as long as the kernel does.
pub(super) fn observe(roots: &Roots, config: &Config, handles: &mut Handles) -> Snapshot {
    let pressure = |name: &str, line: &str| {
        let path = format!("pressure/{name}");
        parse(&roots.proc.join(&path), |text| snapshot::pressure(text, line))
    };
    Snapshot {
        at: Instant::now(),
        cpu: parse(&roots.proc.join("stat"), snapshot::cpu),
        load: parse(&roots.proc.join("loadavg"), snapshot::load),
        cpu_pressure: pressure("cpu", "some"),
        memory_pressure: pressure("memory", "full"),
        io_pressure: pressure("io", "full"),
        memory: memory(handles),
        mounts: read(&roots.proc.join("self/mountinfo")).map(|text| {
            let points = snapshot::mounts(&text, config);
            points.into_iter().map(|point| (point.clone(), space(Path::new(&point)))).collect()
        }),
        disks: disks(roots, config),
        cards: cards(roots, config, handles),
        sensors: sensors(handles),
        uptime: System::uptime().map(|seconds| seconds as f64).map_err(|error| gone("the time since boot", &error)),
        processes: processes(roots, config, handles),
    }
}

fn gone(what: &str, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(Reason::Source, format!("{what}: {error}"))
}

fn refused(path: &Path, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::PermissionDenied => Reason::NotPermitted,
        _ => Reason::Source,
    };
    Failure::new(reason, format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Look<String> {
    fs::read_to_string(path).map_err(|error| refused(path, &error))
}

fn parse<T>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Look<T> {
    parse(&read(path)?).ok_or_else(|| {
        Failure::new(
            Reason::Parse,
            format!("{}: found other text than the kernel's documentation says", path.display()),
        )
    })
}

/// The handle, made at its first use.
fn made<'a, T>(
    handle: &'a mut Option<T>,
    what: &str,
    make: impl FnOnce() -> Result<T, sysinfo::Error>,
) -> Result<&'a mut T, Failure> {
    match handle {
        Some(made) => Ok(made),
        none => Ok(none.insert(make().map_err(|error| gone(what, &error))?)),
    }
}

fn memory(handles: &mut Handles) -> Look<Memory> {
    let system = made(&mut handles.system, "memory", System::new)?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram().with_swap());
    if system.total_memory() == 0 {
        return Err(Failure::new(Reason::Source, "memory: no total size known"));
    }
    Ok(Memory {
        total: system.total_memory(),
        available: system.available_memory(),
        swap_total: system.total_swap(),
        swap_used: system.used_swap(),
    })
}

/// Space as `df` counts it. sysinfo knows only what is available, not what is kept back.
fn space(point: &Path) -> Look<Space> {
    let path = CString::new(point.as_os_str().as_bytes()).map_err(|error| gone("mount point", &error))?;
    let found = statvfs(&path).map_err(|error| refused(point, &error))?;
    Ok(Space { used: found.f_blocks.saturating_sub(found.f_bfree), available: found.f_bavail })
}

#[expect(unsafe_code, reason = "the standard library has no statvfs")]
fn statvfs(path: &CString) -> io::Result<libc::statvfs> {
    let mut found = std::mem::MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `path` ends in a zero byte, `found` is writable and of the type the call fills.
    if unsafe { libc::statvfs(path.as_ptr(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled `found`.
    Ok(unsafe { found.assume_init() })
}

/// Whole disks, read directly: sysinfo knows disks only by what is mounted from them.
fn disks(roots: &Roots, config: &Config) -> Look<BTreeMap<String, snapshot::Disk>> {
    let mut all = snapshot::disks(&read(&roots.proc.join("diskstats"))?);
    let block = roots.sys.join("block");
    // Under /sys/block stand whole devices; made-up ones, such as loops, have no `device`.
    let names = all
        .keys()
        .filter(|name| config.devices.contains(*name) || block.join(name).join("device").exists())
        .map(|name| (name.clone(), true));
    let chosen = snapshot::choose(names, config);
    all.retain(|name, _| chosen.contains(name));
    Ok(all)
}

fn cards(roots: &Roots, config: &Config, handles: &mut Handles) -> Look<BTreeMap<String, Card>> {
    let networks = made(&mut handles.networks, "network cards", Networks::new)?;
    networks.refresh(true);
    if networks.iter().next().is_none() {
        return Err(Failure::new(Reason::Source, "network cards: none found, not even the loopback"));
    }
    let class = roots.sys.join("class/net");
    let names = networks
        .keys()
        .filter_map(|name| name.to_str())
        .filter(|name| *name != "lo")
        .map(|name| (name.to_owned(), class.join(name).join("device").exists()));
    let chosen = snapshot::choose(names, config);
    let card = |name: &String| {
        let data = networks.get(OsStr::new(name))?;
        let received = Traffic {
            bytes: data.total_received(),
            packets: data.total_packets_received(),
            errors: data.total_errors_on_received(),
        };
        let transmitted = Traffic {
            bytes: data.total_transmitted(),
            packets: data.total_packets_transmitted(),
            errors: data.total_errors_on_transmitted(),
        };
        Some((name.clone(), Card { received, transmitted }))
    };
    Ok(chosen.iter().filter_map(card).collect())
}

fn sensors(handles: &mut Handles) -> Look<Vec<Sensor>> {
    let components = made(&mut handles.components, "temperature sensors", Components::new)?;
    components.refresh(true);
    let sensor = |component: &sysinfo::Component| {
        Some(Sensor {
            label: component.label().trim().chars().take(64).collect(),
            id: component.id().unwrap_or_default().to_owned(),
            temperature: f64::from(component.temperature()?),
            critical: component.critical().map(f64::from).filter(|critical| critical.is_finite()),
        })
    };
    let sensors = snapshot::hottest(components.iter().filter_map(sensor).collect());
    if sensors.is_empty() {
        return Err(Failure::new(Reason::Source, "temperature sensors: none found"));
    }
    Ok(sensors)
}

fn processes(roots: &Roots, config: &Config, handles: &mut Handles) -> Look<Vec<Vec<Process>>> {
    if config.process.is_empty() {
        return Ok(Vec::new());
    }
    // Mounted with `hidepid`, /proc shows only our own processes: that others are absent would be
    // a lie.
    let first = roots.proc.join("1/stat");
    if let Err(error) = fs::read(&first) {
        let detail = format!("processes of other users are hidden: {}: {error}", first.display());
        return Err(Failure::new(Reason::NotPermitted, detail));
    }
    let system = made(&mut handles.system, "processes", System::new)?;
    // Name and arguments are read anew each time: a process seen between fork and exec would keep
    // its parent's for ever.
    let what = ProcessRefreshKind::nothing()
        .without_tasks()
        .with_cpu()
        .with_memory()
        .with_exe(UpdateKind::Always)
        .with_cmd(UpdateKind::Always);
    system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
    let mut found = vec![Vec::new(); config.process.len()];
    for (pid, process) in system.processes() {
        if matches!(process.status(), ProcessStatus::Zombie | ProcessStatus::Dead) {
            continue;
        }
        let text = |text: &OsStr| text.to_string_lossy().into_owned();
        let program = Program {
            short_name: text(process.name()),
            executable: process.exe().and_then(Path::file_name).map(text),
            arguments: process.cmd().iter().map(|argument| text(argument)).collect(),
        };
        for (wanted, found) in config.process.iter().zip(&mut found) {
            if snapshot::is_process(wanted, &program) {
                found.push(Process {
                    pid: pid.as_u32(),
                    parent: process.parent().map(sysinfo::Pid::as_u32),
                    started: process.start_time(),
                    cpu_ms: process.accumulated_cpu_time(),
                    memory: process.memory(),
                });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_without_pressure_lacks_only_that() {
        let tree = tempfile::tempdir().expect("a folder");
        let roots = Roots { proc: tree.path().join("proc"), sys: tree.path().join("sys") };
        for (path, text) in [
            ("proc/stat", "cpu  1 1 1 1 1 1 1 1 0 0\n"),
            ("proc/loadavg", "one two three\n"),
            ("proc/diskstats", "8 0 sda 1 0 2 0 1 0 4 0\n7 0 loop0 1 0 2 0 1 0 4 0\n"),
            ("proc/self/mountinfo", "1 0 8:1 / /no/such/mount rw - ext4 /dev/sda1 rw\n"),
            ("sys/block/sda/device/model", "disk"),
        ] {
            let path = tree.path().join(path);
            fs::create_dir_all(path.parent().expect("below the tree")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let config = Config {
            process: vec![super::super::ProcessConfig { name: "init".to_owned(), argument: None, component: None }],
            ..Config::default()
        };
        let look = observe(&roots, &config, &mut Handles::default());
        assert_eq!(look.cpu.expect("the file is there").whole.total, 8);
        assert_eq!(look.load.expect_err("no number").reason, Reason::Parse);
        for pressure in [look.cpu_pressure, look.memory_pressure, look.io_pressure] {
            assert_eq!(pressure.expect_err("no such file").reason, Reason::Source);
        }
        assert_eq!(look.disks.expect("the file is there").into_keys().collect::<Vec<_>>(), ["sda"]);
        let mounts = look.mounts.expect("the file is there");
        assert_eq!(mounts["/no/such/mount"].as_ref().expect_err("not there").reason, Reason::Source);
        // Process 1 is not to be seen, so nobody else's is.
        assert_eq!(look.processes.expect_err("hidden").reason, Reason::NotPermitted);
    }
}
