//! The dataplane's life: taken over with its flows, replaced when its ABI is another, attached where the
//! driver cannot.

use super::environment::Environment;
use anyhow::{Context as _, Result, ensure};
use lb_ebpf::abi::{Address, FlowKey, FlowRecord, Forwarding};
use lb_ebpf::flow_state::FlowState;
use lb_user::core::plan::{Desired, steps};
use lb_user::io::dataplane::{Dataplane, Options, monotonic_now};
use lb_user::model::{AttachMode, PortRange, SynCookieMode};
use std::net::IpAddr;
use std::time::Duration;

pub(super) fn options(environment: &Environment, interfaces: &[&str]) -> Result<Options> {
    Ok(Options {
        pin_dir: environment.pin_dir(),
        interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
        attach: AttachMode::Auto,
        established_flows: 4096,
        embryonic_flows: 16384,
        limited_sources: 1024,
        syn_cookies: SynCookieMode::Never,
        prefixes: 1024,
        nat_ports: PortRange::new(2048, 4095)?,
    })
}

/// Runs a test in a namespace of its own, on a thread of its own.
pub(super) fn in_environment(test: fn(&Environment) -> Result<()>) {
    let run = move || -> Result<()> {
        let environment = Environment::enter()?;
        test(&environment)
    };
    match std::thread::spawn(run).join() {
        Ok(Ok(())) => {}
        Ok(Err(error)) => panic!("{error:#}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn key(client_port: u16) -> FlowKey {
    let address = |text: &str| -> Address { text.parse::<IpAddr>().map(Address::from).expect("an address") };
    FlowKey::new(
        address("198.51.100.7"),
        client_port.to_be_bytes(),
        address("10.80.0.100"),
        80u16.to_be_bytes(),
        6,
    )
}

fn one_flow(dataplane: &mut Dataplane) -> Result<()> {
    let (key, to) = (key(4711), key(4712));
    let mut record: FlowRecord = bytemuck::Zeroable::zeroed();
    record.write(Forwarding::Nat, 0, &key, (&to.destination, to.destination_port()));
    record.set_new_source_port(to.source_port());
    record.state = FlowState::ANSWERED.bits();
    record.last_seen_ns = u64::try_from(monotonic_now().as_nanos())?;
    dataplane.write_flows(&[(key, record)])?;
    Ok(())
}

fn flows(dataplane: &Dataplane) -> Result<usize> {
    Ok(dataplane.sweeper()?.list(monotonic_now() + Duration::from_secs(1), 100, |_| true)?.0.len())
}

#[test]
fn the_verifier_needs_a_fraction_of_what_it_allows_itself() {
    in_environment(|environment| {
        let (dataplane, _) = Dataplane::open(&options(environment, &[])?)?;
        // Kernels differ in how well they see that two paths are one.
        let verified = dataplane.verified_instructions().unwrap_or(0);
        ensure!(verified < 650_000, "{verified} instructions are verified, of a million");
        Ok(())
    });
}

#[test]
fn a_second_load_takes_over_the_maps_with_their_flows() {
    in_environment(|environment| {
        let options = options(environment, &["lo"])?;
        let (mut first, report) = Dataplane::open(&options)?;
        ensure!(!report.maps_taken_over && report.abi_replaced.is_none(), "{report:?}");
        let vips = ["10.80.0.100".parse::<IpAddr>()?].into();
        first.take(&steps(first.image(), &Desired { vips, ..Desired::default() })?)?;
        one_flow(&mut first)?;
        let image = first.image().clone();
        drop(first);
        let (second, report) = Dataplane::open(&options)?;
        ensure!(report.maps_taken_over, "{report:?}");
        ensure!(*second.image() == image, "the image read back differs: {:?}", second.image());
        ensure!(flows(&second)? == 1, "the flow is gone");
        Ok(())
    });
}

#[test]
fn maps_of_another_abi_are_replaced_and_the_report_says_so() {
    in_environment(|environment| {
        let options = options(environment, &["lo"])?;
        let (mut first, _) = Dataplane::open(&options)?;
        one_flow(&mut first)?;
        drop(first);
        // Another map in the place of NODE: what it holds is not this ABI's version.
        let maps = options.pin_dir.join("maps");
        std::fs::remove_file(maps.join("NODE")).context("removing the pin of NODE")?;
        std::fs::rename(maps.join("VIP_FILTER"), maps.join("NODE")).context("moving a pin")?;
        let (second, report) = Dataplane::open(&options)?;
        ensure!(report.abi_replaced == Some(0) && !report.maps_taken_over, "{report:?}");
        ensure!(flows(&second)? == 0, "flows of another ABI were taken over");
        drop(second);
        let (_, report) = Dataplane::open(&options)?;
        ensure!(report.maps_taken_over, "the new maps are where the next agent looks: {report:?}");
        Ok(())
    });
}

#[test]
fn a_driver_without_xdp_gets_generic_mode_and_a_warning_that_says_what_is_lost() {
    in_environment(|environment| {
        let (dataplane, report) = Dataplane::open(&options(environment, &["lo"])?)?;
        let modes: Vec<&str> = dataplane.attachments().iter().map(|found| found.mode.name()).collect();
        ensure!(modes == ["generic"], "{modes:?}");
        ensure!(
            report.warnings.iter().any(|warning| warning.contains("generic mode")),
            "{:?}",
            report.warnings
        );
        Ok(())
    });
}

#[test]
fn an_interface_that_is_not_there_is_named_in_the_error() {
    in_environment(|environment| {
        let error = Dataplane::open(&options(environment, &["eth77"])?).err().context("it must fail")?;
        ensure!(error.to_string().contains("eth77"), "{error}");
        Ok(())
    });
}

#[test]
fn active_flows_that_a_killed_agent_left_miscounted_are_put_right_by_two_sweeps() {
    in_environment(|environment| {
        let (mut dataplane, _) = Dataplane::open(&options(environment, &[])?)?;
        // Written past the program, so it has not counted it: the same drift, with the other sign.
        one_flow(&mut dataplane)?;
        let day = Duration::from_secs(86_400);
        let timeouts = lb_user::io::dataplane::Timeouts {
            established: day,
            half_closed: day,
            closed: day,
            embryonic: day,
            udp: day,
        };
        let mut sweeper = dataplane.sweeper()?;
        sweeper.sweep(timeouts, monotonic_now())?;
        ensure!(dataplane.active_flows(0)? == 0, "once may be chance");
        sweeper.sweep(timeouts, monotonic_now())?;
        ensure!(dataplane.active_flows(0)? == 1, "{} active flows", dataplane.active_flows(0)?);
        sweeper.sweep(timeouts, monotonic_now())?;
        ensure!(dataplane.active_flows(0)? == 1, "put right once is enough");
        let report = sweeper.sweep(timeouts, monotonic_now() + day * 2)?;
        ensure!(report.expired_flows == 1 && dataplane.active_flows(0)? == 0, "{report:?}");
        Ok(())
    });
}

#[test]
fn idle_flows_are_swept_and_busy_ones_stay() {
    in_environment(|environment| {
        let (mut dataplane, _) = Dataplane::open(&options(environment, &[])?)?;
        one_flow(&mut dataplane)?;
        let second = Duration::from_secs(1);
        let timeouts = lb_user::io::dataplane::Timeouts {
            established: second * 10,
            half_closed: second,
            closed: second,
            embryonic: second,
            udp: second,
        };
        let mut sweeper = dataplane.sweeper()?;
        let now = monotonic_now();
        let report = sweeper.sweep(timeouts, now + second * 5)?;
        ensure!(report.expired_flows == 0 && report.established_entries == 1, "{report:?}");
        let report = sweeper.sweep(timeouts, now + second * 11)?;
        ensure!(report.expired_flows == 1 && report.established_entries == 0, "{report:?}");
        Ok(())
    });
}
