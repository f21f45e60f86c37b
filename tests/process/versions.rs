//! Sources of versions that misbehave.

use crate::daemon::{Home, NO_CALL, OWN_VERSION, SOON};

#[test]
fn a_source_that_hangs_floods_or_lies_costs_only_its_own_version() {
    let source = |name: &str, command: &str| {
        format!("[probe.versions.components.{name}]\ncommand = [\"/bin/sh\", \"-c\", '{command}']\ntimeout = \"1 s\"\n")
    };
    let home = Home::new(&format!(
        "{NO_CALL}{}{}{}{}{}",
        source("a-good", "echo 1.0"),
        source("hangs", "exec sleep 60"),
        source("floods", "exec yes"),
        source("lies", "printf \"\\377\\376\\000\\001\""),
        source("z-good", "echo 2.0"),
    ));
    let daemon = home.start();
    daemon.wait_for_metric(OWN_VERSION, 1.0, SOON);
    let metrics = daemon.metrics();
    let known: Vec<&String> =
        metrics.keys().filter(|series| series.starts_with("bellwether_component_info{")).collect();
    let knows = |component: &str| known.iter().any(|series| series.contains(&format!("component=\"{component}\"")));
    for component in ["os", "kernel", "bellwether"] {
        assert!(knows(component), "{component}: {known:?}");
    }
    for (component, version) in [("a-good", "1.0"), ("z-good", "2.0")] {
        let series = format!("bellwether_component_info{{component=\"{component}\",version=\"{version}\"}}");
        assert_eq!(metrics.get(&series), Some(&1.0), "{known:?}");
    }
    for component in ["hangs", "floods", "lies"] {
        assert!(!knows(component), "{component}: {known:?}");
    }
    assert_eq!(metrics.get("bellwether_probe_success{probe=\"versions\"}"), Some(&1.0));
    daemon.stop();

    let ended = home.run(["inspect", "versions"]);
    assert_eq!(ended.code, 0, "{}", ended.stdout);
    for (component, reason) in [("hangs", "timeout"), ("floods", "too_large"), ("lies", "parse")] {
        let line = format!("versions: {reason}: {component}: ");
        assert!(ended.stdout.contains(&line), "{line}: {}", ended.stdout);
    }
}
