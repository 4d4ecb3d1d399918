//! Tracing: the program that tells is put into the links while one client reads, and taken out when it leaves.

use super::state::Agent;
use crate::api::{ApiError, ErrorKind, EventKind, Reply, TraceRequest, TracedPacket};
use crate::core::frame_text;
use crate::core::plan::name_hash;
use crate::io::dataplane::{TraceEvents, Tracer, monotonic_now};
use crate::model::{BackendName, Family, RuleName, ServiceName};
use lb_ebpf::abi::{Address, Judgement, NO_SERVICE, TraceEvent, TraceFilter};
use lb_ebpf::outcome::{Outcome, Verdict};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// Packets that a client may lag behind before it misses some.
const WAITING: usize = 4096;
const FLOWS: [&str; 4] = ["none", "embryonic", "established", "new"];

/// Names for the numbers in events, as they are when the trace begins.
struct Names {
    services: BTreeMap<u64, ServiceName>,
    backends: BTreeMap<u32, (ServiceName, BackendName)>,
    rules: BTreeMap<u32, RuleName>,
    /// What to add to the kernel's clock for the time of day.
    to_unix: Duration,
}

impl Agent {
    /// Begins to tell about packets.
    pub(super) fn trace(&mut self, request: &TraceRequest, reply: Reply<mpsc::Receiver<TracedPacket>>) {
        let answer = self.begin_trace(request);
        // A client that left: its end of the channel goes with the answer, and that ends the trace.
        let _ = reply.send(answer);
    }

    fn begin_trace(&mut self, request: &TraceRequest) -> Result<mpsc::Receiver<TracedPacket>, ApiError> {
        if self.tracer.is_some() {
            return Err(ApiError::new(ErrorKind::Conflict, "somebody traces already; one at a time"));
        }
        let filter = self.trace_filter(request)?;
        let internal = |error: crate::io::dataplane::DataplaneError| {
            ApiError::new(ErrorKind::Internal, error.to_string())
        };
        let pin_dir = self.config.dataplane.pin_dir.clone();
        let (mut tracer, events) = Tracer::load(&pin_dir, filter).map_err(internal)?;
        if let Err(error) = self.dataplane.begin_trace(&mut tracer, &pin_dir) {
            self.tracer = Some(tracer);
            self.end_trace();
            return Err(internal(error));
        }
        self.tracer = Some(tracer);
        let (packets, receiver) = mpsc::channel(WAITING);
        let (names, ended) = (self.names(), self.trace_ended.clone());
        tokio::spawn(async move {
            tell(events, &packets, &names).await;
            // An agent that is gone needs no word of it.
            let _ = ended.send(()).await;
        });
        Ok(receiver)
    }

    /// The reader has left: packets are forwarded in silence again.
    pub(super) fn end_trace(&mut self) {
        if self.tracer.take().is_none() {
            return;
        }
        let pin_dir = self.config.dataplane.pin_dir.clone();
        if let Err(error) = self.dataplane.end_trace(&pin_dir) {
            let message =
                format!("the program that traces stays in place until the agent is restarted: {error}");
            self.journal.record(EventKind::Warning, message);
        }
    }

    fn trace_filter(&self, request: &TraceRequest) -> Result<TraceFilter, ApiError> {
        let mut filter: TraceFilter = bytemuck::Zeroable::zeroed();
        if let Some(name) = &request.service {
            if !self.config.services.contains_key(name) {
                return Err(self.no_service(name));
            }
            filter.by_service = 1;
            let services = &self.dataplane.image().services;
            filter.services = [Family::V4, Family::V6].map(|family| {
                let hash = name_hash(name, None, family);
                let entry = services.values().find(|entry| entry.name_hash == hash);
                // A service that this node does not serve has no packets.
                entry.map_or(NO_SERVICE, |entry| entry.id)
            });
        }
        if let Some(prefix) = request.from {
            let (address, mask): (IpAddr, IpAddr) = (prefix.addr(), prefix.netmask());
            filter.address = address.into();
            filter.mask = match mask {
                // IPv4 addresses stand in the last bits of an IPv6 one, behind bits that tell them apart.
                IpAddr::V4(v4) => {
                    Address::from_v6((u128::MAX << 32 | u128::from(v4.to_bits())).to_be_bytes())
                }
                IpAddr::V6(v6) => Address::from_v6(v6.octets()),
            };
        }
        filter.every = request.every.unwrap_or(1);
        filter.all = u32::from(request.all);
        Ok(filter)
    }

    fn names(&self) -> Names {
        let families = [Family::V4, Family::V6];
        let services = self.config.services.keys();
        let hashes =
            services.flat_map(|name| families.map(|family| (name_hash(name, None, family), name.clone())));
        let image = self.dataplane.image();
        let backends = image.backends.keys().filter_map(|id| Some((*id, self.backend_of(*id)?)));
        let rules = self.dataplane.rule_names();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Names {
            services: hashes.collect(),
            backends: backends.collect(),
            rules,
            to_unix: now.saturating_sub(monotonic_now()),
        }
    }
}

/// Hands events on until the reader leaves. What it has no room for, it misses.
async fn tell(mut events: TraceEvents, packets: &mpsc::Sender<TracedPacket>, names: &Names) {
    loop {
        let told = tokio::select! {
            told = events.next() => told,
            () = packets.closed() => return,
        };
        let Ok(told) = told else { return };
        for event in &told {
            if let Err(mpsc::error::TrySendError::Closed(_)) = packets.try_send(view(event, names)) {
                return;
            }
        }
    }
}

fn view(event: &TraceEvent, names: &Names) -> TracedPacket {
    let found = &event.explanation;
    let outcome = Outcome::ALL.get(found.outcome as usize).copied().unwrap_or(Outcome::Internal);
    let rule = match found.decision.judgement() {
        _ if found.judged == 0 => None,
        Judgement::None => None,
        Judgement::Allow(id) | Judgement::Deny(id) | Judgement::Limit(id) => names.rules.get(&id).cloned(),
    };
    let backend = names.backends.get(&found.backend_id);
    let frame = event.frame.get(..event.captured_bytes as usize).unwrap_or(&event.frame);
    let at = names.to_unix + Duration::from_nanos(event.at_ns);
    let interface = nix::net::if_::if_indextoname(event.ingress_ifindex);
    TracedPacket {
        at_unix_ns: u64::try_from(at.as_nanos()).unwrap_or(u64::MAX),
        interface: interface
            .map_or_else(|_| event.ingress_ifindex.to_string(), |name| name.to_string_lossy().into_owned()),
        packet: frame_text::summary(frame),
        verdict: match outcome.verdict() {
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
            Verdict::Transmit => "transmit",
        }
        .to_owned(),
        outcome: outcome.name().to_owned(),
        service: names.services.get(&found.service).or(backend.map(|(service, _)| service)).cloned(),
        rule,
        flow: FLOWS.get(found.flow as usize).copied().unwrap_or("unknown").to_owned(),
        direction: (found.flow != 0)
            .then(|| if found.direction == 0 { "to-backend" } else { "to-client" }.to_owned()),
        backend: backend.map(|(_, name)| name.clone()),
        frame_bytes: event.frame_bytes,
        frame: frame.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}
