//! XDP programs that do one thing with every packet. The peer of a veth whose other end transmits from XDP needs the one
//! that passes: without it the kernel loses those packets. The one that drops is what benchmarks of drops compare with.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {
    eprintln!("lb-pass is a BPF program; `cargo xtask build-ebpf` builds it");
}

#[cfg(target_arch = "bpf")]
mod program {
    use aya_ebpf::{
        bindings::xdp_action::{XDP_DROP, XDP_PASS},
        macros::xdp,
        programs::XdpContext,
    };

    #[xdp(frags)]
    fn lb_pass(_ctx: XdpContext) -> u32 {
        XDP_PASS
    }

    #[xdp]
    fn lb_drop(_ctx: XdpContext) -> u32 {
        XDP_DROP
    }

    // Spelled out here, not taken from the library: its maps would come with it.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo) -> ! {
        loop {}
    }
}
