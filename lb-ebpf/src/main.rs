//! The XDP program: a packet in, one `Outcome` out, its counter and its verdict. All decisions are
//! taken in the library.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("lb-xdp is a BPF program; `cargo xtask build-ebpf` builds it, `lbctl agent` loads it");
}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::xdp_action::{XDP_DROP, XDP_PASS},
        macros::xdp,
        programs::XdpContext,
    };
    use lb_ebpf::{
        bpf::{dropped, explain, firewall, maps, pipeline, trace, transmit},
        outcome::Verdict,
    };

    #[xdp(frags)]
    fn lb_xdp(ctx: XdpContext) -> u32 {
        trace::begin(&ctx);
        let (outcome, ifindex) = match pipeline::process(&ctx) {
            Ok(sent) => (sent.outcome, sent.ifindex),
            Err(outcome) => (outcome, 0),
        };
        maps::count_outcome(outcome);
        explain::note(|explanation| {
            explanation.outcome = outcome as u32;
            explanation.ifindex = ifindex;
        });
        trace::end(outcome);
        match outcome.verdict() {
            Verdict::Pass => XDP_PASS,
            Verdict::Drop => {
                dropped::go_on(&ctx, outcome);
                XDP_DROP
            }
            Verdict::Transmit => transmit(&ctx, ifindex),
        }
    }

    /// What follows for a packet that is dropped: its source is remembered. Never attached.
    #[xdp(frags)]
    fn lb_dropped(ctx: XdpContext) -> u32 {
        dropped::remember(&ctx);
        XDP_DROP
    }

    /// Takes a flow off its source's account. The agent runs this when it forgets a flow: it cannot count with the
    /// program's atomic operations, and whatever else it did could lose a count. The packet is 16 bytes of the
    /// client's address and 4 of the rule's id. Never attached.
    #[xdp]
    fn lb_settle(ctx: XdpContext) -> u32 {
        if let Some((client, rule)) = firewall::settled(&ctx) {
            firewall::account_closed(&client, rule);
        }
        XDP_PASS
    }

    // The licence that the kernel asks of a program which calls its helpers.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    // Asked for by `no_std`; never reached: the verifier refuses code that could.
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo) -> ! {
        loop {}
    }
}
