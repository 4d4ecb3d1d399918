//! Explanations: the program is asked, and its numbers get names.

use super::state::Agent;
use crate::api::{ApiError, ErrorKind, ExplainQuestion, Explanation, Leaves, SegmentWord};
use crate::core::explain::{SegmentKind, packet, read};
use crate::core::plan::name_hash;
use crate::io::dataplane::{Explainer, RunResult};
use crate::model::{BackendName, Family, ServiceName};
use lb_ebpf::abi::{self, Judgement};
use lb_ebpf::flow_state::FlowState;
use lb_ebpf::outcome::{Outcome, Verdict};

const FLOWS: [&str; 4] = ["none", "embryonic", "established", "new"];

fn internal(error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorKind::Internal, error.to_string())
}

impl Agent {
    /// What the program would do with a packet. The program is loaded for the first question and kept.
    pub(super) fn explain(&mut self, question: &ExplainQuestion) -> Result<Explanation, ApiError> {
        if self.explainer.is_none() {
            let pin_dir = &self.config.dataplane.pin_dir;
            self.explainer = Some(Explainer::load(pin_dir).map_err(internal)?);
        }
        let segments: &[(SegmentWord, SegmentKind)] = match question.segment {
            SegmentWord::Auto => {
                &[(SegmentWord::Ack, SegmentKind::Ack), (SegmentWord::Syn, SegmentKind::Syn)]
            }
            SegmentWord::Syn => &[(SegmentWord::Syn, SegmentKind::Syn)],
            SegmentWord::Ack => &[(SegmentWord::Ack, SegmentKind::Ack)],
            SegmentWord::Fin => &[(SegmentWord::Fin, SegmentKind::Fin)],
            SegmentWord::Rst => &[(SegmentWord::Rst, SegmentKind::Reset)],
            SegmentWord::Datagram => &[(SegmentWord::Datagram, SegmentKind::Datagram)],
        };
        let interface = self.ingress(question)?;
        let ifindex = nix::net::if_::if_nametoindex(interface.as_str())
            .map_err(|error| ApiError::new(ErrorKind::Invalid, format!("interface {interface}: {error}")))?;
        let mut answer = None;
        for (word, kind) in segments {
            let (from, to) = (question.from, question.to);
            let families = || format!("{from} and {to} are of two families; ask about addresses of one");
            let packet =
                packet(from, to, *kind).ok_or_else(|| ApiError::new(ErrorKind::Invalid, families()))?;
            // Made above; this is for the type.
            let Some(explainer) = &mut self.explainer else { continue };
            let (result, found) = explainer.explain(&packet, ifindex).map_err(internal)?;
            answer = Some(self.in_words(*word, &interface, &result, &found));
            if found.flow != 0 {
                break;
            }
        }
        answer.ok_or_else(|| internal("nothing was asked"))
    }

    /// The interface that a packet comes in by, unless the question says.
    fn ingress(&self, question: &ExplainQuestion) -> Result<String, ApiError> {
        let interfaces = &self.config.node.interfaces;
        match &question.interface {
            Some(name) if interfaces.contains(name) => Ok(name.clone()),
            Some(name) => {
                let message =
                    format!("the program is not on interface {name}; it is on {}", interfaces.join(", "));
                Err(ApiError::new(ErrorKind::Invalid, message))
            }
            None => {
                let of_vip = self.config.vips.values().find(|vip| vip.addresses.contains(&question.to.ip()));
                let first = of_vip.map(|vip| &vip.interface).or(interfaces.first());
                first.cloned().ok_or_else(|| internal("the node has no interface"))
            }
        }
    }

    fn in_words(
        &self,
        segment: SegmentWord,
        ingress: &str,
        result: &RunResult,
        found: &abi::Explanation,
    ) -> Explanation {
        let outcome = Outcome::ALL.get(found.outcome as usize).copied().unwrap_or(Outcome::Internal);
        let (firewall, rule) = match found.decision.judgement() {
            _ if found.judged == 0 => (None, None),
            Judgement::None if outcome == Outcome::NotAllowed => (Some("deny"), None),
            Judgement::None => (Some("allow"), None),
            Judgement::Allow(id) => (Some("allow"), self.dataplane.rule_name(id)),
            Judgement::Deny(id) => (Some("deny"), self.dataplane.rule_name(id)),
            Judgement::Limit(id) => (Some("limit"), self.dataplane.rule_name(id)),
        };
        let has_flow = found.flow != 0;
        let direction = if found.direction == 0 { "to-backend" } else { "to-client" };
        let backend = self.backend_of(found.backend_id);
        let transmits = outcome.verdict() == Verdict::Transmit;
        Explanation {
            segment,
            verdict: match outcome.verdict() {
                Verdict::Pass => "pass",
                Verdict::Drop => "drop",
                Verdict::Transmit => "transmit",
            }
            .to_owned(),
            outcome: outcome.name().to_owned(),
            description: outcome.description().trim().to_owned(),
            service: self.service_of(found.service).or_else(|| Some(backend.clone()?.0)),
            firewall: firewall.map(str::to_owned),
            rule: rule.cloned(),
            flow: FLOWS.get(found.flow as usize).copied().unwrap_or("unknown").to_owned(),
            state: has_flow.then(|| FlowState::from_bits(found.state).name().to_owned()),
            direction: has_flow.then(|| direction.to_owned()),
            backend: backend.map(|(_, name)| name),
            leaves: if transmits { leaves(result, found.ifindex, ingress) } else { None },
        }
    }

    fn service_of(&self, hash: u64) -> Option<ServiceName> {
        let is = |name: &&ServiceName| {
            [Family::V4, Family::V6].iter().any(|family| name_hash(name, None, *family) == hash)
        };
        self.config.services.keys().find(is).cloned()
    }

    pub(super) fn backend_of(&self, id: u32) -> Option<(ServiceName, BackendName)> {
        let hash = self.dataplane.image().backends.get(&id)?.name_hash;
        let all =
            self.config.services.values().flat_map(|service| {
                service.backends.iter().map(move |backend| (&service.name, &backend.name))
            });
        let is = |(service, backend): &(&ServiceName, &BackendName)| {
            [Family::V4, Family::V6].iter().any(|family| name_hash(service, Some(backend), *family) == hash)
        };
        all.into_iter().find(is).map(|(service, backend)| (service.clone(), backend.clone()))
    }
}

fn leaves(result: &RunResult, ifindex: u32, ingress: &str) -> Option<Leaves> {
    let addressed = read(&result.packet)?;
    let interface = match ifindex {
        0 => ingress.to_owned(),
        index => {
            let name = nix::net::if_::if_indextoname(index);
            name.map_or_else(|_| index.to_string(), |name| name.to_string_lossy().into_owned())
        }
    };
    let mac: Vec<String> = addressed.next_hop.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Leaves { from: addressed.from, to: addressed.to, next_hop: mac.join(":"), interface })
}
