//! Where the program is attached from one start to the next: interfaces that leave the configuration, another way of
//! attaching, an interface that was made anew.

use super::environment::Environment;
use super::lifecycle::{in_environment, options};
use anyhow::{Context as _, Result, ensure};
use lb_user::io::dataplane::Dataplane;
use lb_user::model::AttachMode;
use std::process::Command;

fn ip(words: &str) -> Result<String> {
    let output = Command::new("ip").args(words.split(' ')).output()?;
    ensure!(output.status.success(), "ip {words}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// The pins beside the maps.
fn link_pins(environment: &Environment) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(environment.pin_dir())?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut pins: Vec<String> = names.collect::<Result<_>>()?;
    pins.retain(|name| name.starts_with("link_"));
    pins.sort();
    Ok(pins)
}

/// How the kernel shows the program: `xdp` is native, `xdpgeneric` is not.
fn shown(interface: &str) -> Result<Option<&'static str>> {
    let text = ip(&format!("-d link show {interface}"))?;
    Ok(["xdpgeneric", "xdp"].into_iter().find(|word| text.split_ascii_whitespace().any(|part| part == *word)))
}

#[test]
fn an_interface_that_leaves_the_configuration_runs_no_program_any_more() {
    in_environment(|environment| {
        drop(Dataplane::open(&options(environment, &["lan", "far"])?)?);
        ensure!(link_pins(environment)? == ["link_far_native", "link_lan_native"]);
        let (_dataplane, report) = Dataplane::open(&options(environment, &["lan"])?)?;
        ensure!(report.interfaces_left == ["far"], "{report:?}");
        ensure!(link_pins(environment)? == ["link_lan_native"], "{:?}", link_pins(environment)?);
        ensure!(shown("far")?.is_none() && shown("lan")? == Some("xdp"), "{:?}", shown("far")?);
        Ok(())
    });
}

#[test]
fn another_way_of_attaching_takes_the_place_of_the_earlier_one() {
    in_environment(|environment| {
        let mut options = options(environment, &["lan"])?;
        drop(Dataplane::open(&options)?);
        for (attach, pin, word) in [
            (AttachMode::Generic, "link_lan_generic", "xdpgeneric"),
            (AttachMode::Native, "link_lan_native", "xdp"),
        ] {
            options.attach = attach;
            let (_, report) = Dataplane::open(&options)?;
            ensure!(report.maps_taken_over, "{report:?}");
            ensure!(link_pins(environment)? == [pin], "{attach:?}: {:?}", link_pins(environment)?);
            ensure!(shown("lan")? == Some(word), "{attach:?}: {:?}", shown("lan")?);
        }
        Ok(())
    });
}

#[test]
fn an_interface_that_was_made_anew_gets_the_program_at_the_next_start() {
    in_environment(|environment| {
        let options = options(environment, &["lan"])?;
        drop(Dataplane::open(&options)?);
        ip("link del lan")?;
        ip("link add lan type veth peer name lan-peer")?;
        ensure!(shown("lan")?.is_none(), "the new interface runs a program already");
        let (dataplane, report) = Dataplane::open(&options)?;
        let attachment = dataplane.attachments().first().context("attached nowhere")?;
        ensure!(attachment.interface == "lan" && report.maps_taken_over, "{report:?}");
        ensure!(shown("lan")? == Some("xdp"), "{:?}", shown("lan")?);
        Ok(())
    });
}
