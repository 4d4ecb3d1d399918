//! What a service's mode asks of its backends: in words, and by asking them.

use super::proxying::is_transparent;
use super::state::Agent;
use crate::api::{ApiError, ErrorKind, Guide, ProbeView, Reply};
use crate::config::{Config, Service};
use crate::core::probe::{Answer, Means, Probe};
use crate::io::interface::Interfaces;
use crate::io::{neighbour, probe};
use crate::model::{BackendName, Family, Mode, Protocol, ServiceName};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Clients that nobody has: of the networks for documentation (RFC 5737, RFC 3849). A backend routes its answers to them as it
/// routes those to any client.
const NOBODY: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 1), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
/// Ports of questions, one for each, so that no answer is taken for another's.
const FIRST_PORT: u16 = 61_000;
/// How often, and how long apart, a neighbour is looked for.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// One question to one backend.
struct Question {
    backend: BackendName,
    address: SocketAddr,
    asked: SocketAddr,
    means: Means,
    port: u16,
}

/// What backends of the mode must do to answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Duty {
    /// Hold the VIP.
    HoldVip,
    /// Route their answers through the node.
    RouteBack,
}

fn duty(service: &Service) -> Option<Duty> {
    match service.mode {
        Mode::Dsr => Some(Duty::HoldVip),
        Mode::Nat if service.keep_source => Some(Duty::RouteBack),
        Mode::Tcp | Mode::Tls if is_transparent(service) => Some(Duty::RouteBack),
        _ => None,
    }
}

impl Agent {
    pub(super) fn guide(&self, name: &ServiceName) -> Result<Guide, ApiError> {
        let service = self.config.services.get(name).ok_or_else(|| self.no_service(name))?;
        Ok(guide(&self.config, service))
    }

    /// Asks all backends of a service, without keeping the agent.
    pub(super) fn probe(&self, name: &ServiceName, reply: Reply<Vec<ProbeView>>) {
        let found = self.config.services.get(name).ok_or_else(|| self.no_service(name)).and_then(|service| {
            let nothing = || {
                let message = format!(
                    "service {name}: mode {} asks nothing of its backends; `lbctl health list` shows how they are",
                    service.mode
                );
                ApiError::new(ErrorKind::Invalid, message)
            };
            Ok((duty(service).ok_or_else(nothing)?, questions(&self.config, service)))
        });
        match found {
            Err(error) => {
                // A client that left no longer wants its answer.
                let _ = reply.send(Err(error));
            }
            Ok((duty, questions)) => {
                let vips: BTreeSet<IpAddr> =
                    self.config.vips.values().flat_map(|vip| vip.addresses.iter().copied()).collect();
                let interfaces = self.interfaces.clone();
                tokio::spawn(async move {
                    let mut views = Vec::new();
                    for question in questions {
                        views.push(put(&interfaces, &vips, duty, question).await);
                    }
                    let _ = reply.send(Ok(views));
                });
            }
        }
    }
}

/// The addresses of a service's VIPs in one family.
fn vips_of<'a>(
    config: &'a Config,
    service: &'a Service,
    family: Family,
) -> impl Iterator<Item = IpAddr> + 'a {
    let vips = service.vips.iter().filter_map(|name| config.vips.get(name));
    vips.flat_map(|vip| vip.addresses.iter().copied()).filter(move |address| Family::of(*address) == family)
}

fn questions(config: &Config, service: &Service) -> Vec<Question> {
    let means = if service.protocol == Protocol::Tcp { Means::Syn } else { Means::Echo };
    let mut questions = Vec::new();
    for backend in &service.backends {
        for address in &backend.addresses {
            let vips = vips_of(config, service, Family::of(address.ip()));
            let asked: Vec<SocketAddr> = match duty(service) {
                Some(Duty::HoldVip) => vips.map(|vip| SocketAddr::new(vip, service.port)).collect(),
                _ => vips.map(|_| *address).take(1).collect(),
            };
            for asked in asked {
                let port = FIRST_PORT.saturating_add(u16::try_from(questions.len()).unwrap_or(0));
                questions.push(Question {
                    backend: backend.name.clone(),
                    address: *address,
                    asked,
                    means,
                    port,
                });
            }
        }
    }
    questions
}

async fn put(interfaces: &Interfaces, vips: &BTreeSet<IpAddr>, duty: Duty, question: Question) -> ProbeView {
    let (answers, result) = match answer(interfaces, vips, duty, &question).await {
        Ok(Some(Answer::Accepted)) => (true, "answers".to_owned()),
        Ok(Some(Answer::Refused)) => (false, "refuses: nothing listens at that address and port".to_owned()),
        Ok(None) => (false, silence(duty, &question)),
        Err(reason) => (false, reason),
    };
    let Question { backend, address, asked, .. } = question;
    ProbeView { backend, address, asked, answers, result }
}

fn silence(duty: Duty, question: &Question) -> String {
    match duty {
        Duty::HoldVip => {
            format!("no answer: does it have {} on its loopback interface?", question.asked.ip())
        }
        Duty::RouteBack => "no answer came this way: does it route to clients through this node?".to_owned(),
    }
}

async fn answer(
    interfaces: &Interfaces,
    vips: &BTreeSet<IpAddr>,
    duty: Duty,
    question: &Question,
) -> Result<Option<Answer>, String> {
    let address = question.address.ip();
    let Some((interface, mac)) = neighbour_of(interfaces, address).await? else {
        return Err(format!("{address} is not on a network of this node, or does not answer there at all"));
    };
    let from = match (duty, address) {
        (Duty::RouteBack, IpAddr::V4(_)) => NOBODY.0.into(),
        (Duty::RouteBack, IpAddr::V6(_)) => NOBODY.1.into(),
        (Duty::HoldVip, _) => own_address(interfaces, vips, &interface, Family::of(address)).await?,
    };
    let probe =
        Probe { means: question.means, from: SocketAddr::new(from, question.port), to: question.asked };
    let asked = tokio::task::spawn_blocking(move || probe::ask(&interface, mac, &probe)).await;
    match asked {
        Ok(answer) => answer.map_err(|error| format!("could not be asked: {error}")),
        Err(error) => Err(format!("could not be asked: {error}")),
    }
}

/// The interface behind which an address is, and its MAC address, as soon as the kernel knows them.
async fn neighbour_of(interfaces: &Interfaces, address: IpAddr) -> Result<Option<(String, [u8; 6])>, String> {
    for _ in 0..LOOKS {
        if let Some(found) = interfaces.neighbour(address).await.map_err(|error| error.to_string())? {
            return Ok(Some(found));
        }
        // Where it fails, there is no route, and the next look finds nothing either.
        let _ = neighbour::resolve(address);
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    Ok(None)
}

/// An address of this node that is no VIP, to which the backend can answer.
async fn own_address(
    interfaces: &Interfaces,
    vips: &BTreeSet<IpAddr>,
    interface: &str,
    family: Family,
) -> Result<IpAddr, String> {
    let all = interfaces.addresses(interface).await.map_err(|error| error.to_string())?;
    let usable = |address: &IpAddr| Family::of(*address) == family && !vips.contains(address);
    let local = |address: &IpAddr| matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    let mut own = all.into_iter().filter(usable).collect::<Vec<_>>();
    own.sort_by_key(local);
    let missing = || format!("interface {interface} has no {} address of its own", family.title());
    own.first().copied().ok_or_else(missing)
}

/// What the machines of a service must be configured with.
fn guide(config: &Config, service: &Service) -> Guide {
    let [v4, v6] =
        [Family::V4, Family::V6].map(|family| vips_of(config, service, family).collect::<Vec<_>>());
    let (mut on_backends, mut on_nodes, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    match duty(service) {
        None => notes.push(format!("Mode {} asks nothing of its backends.", service.mode)),
        Some(Duty::HoldVip) => {
            if !v4.is_empty() {
                on_backends
                    .push("sysctl -w net.ipv4.conf.all.arp_ignore=1 net.ipv4.conf.all.arp_announce=2".into());
            }
            on_backends.extend(v4.iter().map(|vip| format!("ip address replace {vip}/32 dev lo")));
            on_backends.extend(v6.iter().map(|vip| format!("ip address replace {vip}/128 dev lo nodad")));
            notes.push("Backends are on a network of the nodes, with no router in between.".into());
            notes.push(format!(
                "The server listens at port {} of all addresses, or of the VIP.",
                service.port
            ));
            notes.push("A backend that is a client of these VIPs reaches itself.".into());
        }
        Some(Duty::RouteBack) => {
            for (ip, family, vips) in [("ip", "ipv4", &v4), ("ip -6", "ipv6", &v6)] {
                let Some(vip) = vips.first() else { continue };
                on_backends.push(format!(
                    "for f in /proc/sys/net/{family}/conf/*/accept_redirects; do echo 0 >$f; done"
                ));
                on_backends.push(format!("{ip} route replace default via {vip}"));
            }
            if !v4.is_empty() {
                on_nodes
                    .push("for f in /proc/sys/net/ipv4/conf/*/send_redirects; do echo 0 >$f; done".into());
            }
            if !v6.is_empty() {
                on_nodes.push("sysctl -w net.ipv6.conf.all.forwarding=1".into());
            }
            notes.push(
                "Answers to clients leave by way of the VIP, so the route need not be the default one."
                    .into(),
            );
            notes.push("The nodes' own forwarding is for what backends send beside their answers.".into());
            notes.push("Clients in the network of the backends are answered past the node: they need mode nat without \
                        keep_source, or dsr.".into());
            if service.proxy.is_some() {
                notes.push("Nobody but the nodes connects to the backends' ports by way of a node: their answers are taken \
                            for the nodes'.".into());
            }
        }
    }
    if !on_backends.is_empty() {
        notes.push(
            "Commands last until the next boot: put the settings where the system keeps its own.".into(),
        );
    }
    Guide { service: service.name.clone(), on_backends, on_nodes, notes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guide_of(mode: &str) -> Guide {
        let text = format!(
            "[node]\nname = \"lb1\"\ninterfaces = [\"eth0\"]\n[vip.A]\naddress = [\"10.80.0.100\", \"fd80::100\"]\n\
             [service.web]\nvips = [\"A\"]\nport = 80\n{mode}\n"
        );
        let config = Config::parse(&text, "test.toml").expect("a configuration");
        let service = config.services.values().next().expect("a service");
        guide(&config, service)
    }

    #[test]
    fn backends_behind_nat_need_nothing() {
        let guide = guide_of("");
        assert!(guide.on_backends.is_empty() && guide.on_nodes.is_empty());
    }

    #[test]
    fn backends_that_answer_directly_hold_every_address_of_the_vip() {
        let commands = guide_of("mode = \"dsr\"").on_backends;
        assert!(commands.contains(&"ip address replace 10.80.0.100/32 dev lo".to_owned()));
        assert!(commands.contains(&"ip address replace fd80::100/128 dev lo nodad".to_owned()));
    }

    #[test]
    fn backends_that_see_clients_route_by_way_of_the_vip() {
        let commands = guide_of("keep_source = true").on_backends;
        assert!(commands.contains(&"ip route replace default via 10.80.0.100".to_owned()));
        assert!(commands.contains(&"ip -6 route replace default via fd80::100".to_owned()));
    }
}
