//! Map access: typed views, the steps of a plan, and reading the image back.

use super::DataplaneError;
use crate::core::plan::{BackendEntry, Image, LimitEntry, ServiceAddress, ServiceEntry, Step};
use crate::model::{AtLimit, Protocol, SchedulerKind};
use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, PerCpuArray};
use lb_ebpf::abi::{
    self, Address, Backend, Forwarding, MAX_BACKENDS, MAX_SERVICES, NodeConfig, SERVED_HERE, Scheduler,
    Service, ServiceKey, ServiceLimit, filter_position,
};
use lb_ebpf::wire::{PROTOCOL_TCP, PROTOCOL_UDP};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;

/// A map value or key as aya wants it.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct Plain<T>(pub(super) T);

// SAFETY: `T` is `bytemuck::Pod`: no padding, no invalid bit pattern, no pointer; the wrapper is transparent.
unsafe impl<T: bytemuck::Pod> aya::Pod for Plain<T> {}

/// Turns aya's errors into ours, naming the map.
pub(super) fn failed<E: std::error::Error>(map: &'static str) -> impl Fn(E) -> DataplaneError {
    move |error| DataplaneError::Map { map, reason: crate::io::dataplane::load::chain(&error) }
}

/// The same map once more, for another owner. By a copy of its descriptor: to be given one by a map's number takes far greater rights.
pub(super) fn again(data: &MapData, name: &'static str) -> Result<MapData, DataplaneError> {
    let copy = data.fd().as_fd().try_clone_to_owned().map_err(failed(name))?;
    MapData::from_fd(copy).map_err(failed(name))
}

fn missing(map: &'static str) -> DataplaneError {
    DataplaneError::Map {
        map,
        reason: "not in the program's object; rebuild it with `cargo xtask build-ebpf`".into(),
    }
}

/// A map of the program by name, as the kind of map it is.
pub(super) fn view<'a, M>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<M, DataplaneError>
where
    M: TryFrom<&'a mut Map>,
    M::Error: std::error::Error,
{
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    M::try_from(map).map_err(failed(name))
}

/// The same for reading.
pub(super) fn read_view<'a, M>(ebpf: &'a Ebpf, name: &'static str) -> Result<M, DataplaneError>
where
    M: TryFrom<&'a Map>,
    M::Error: std::error::Error,
{
    let map = ebpf.map(name).ok_or_else(|| missing(name))?;
    M::try_from(map).map_err(failed(name))
}

type ArrayMut<'a, T> = Array<&'a mut MapData, T>;
type HashMut<'a, K, V> = HashMap<&'a mut MapData, K, V>;

fn service_key(address: &ServiceAddress) -> Plain<ServiceKey> {
    let ServiceAddress { socket, protocol } = address;
    let protocol = match protocol {
        Protocol::Tcp => PROTOCOL_TCP,
        Protocol::Udp => PROTOCOL_UDP,
    };
    Plain(ServiceKey::new(socket.ip().into(), socket.port().to_be_bytes(), protocol))
}

fn service_address(key: &ServiceKey) -> ServiceAddress {
    let socket = SocketAddr::new(key.vip.into(), u16::from_be_bytes(key.port()));
    let protocol = if key.protocol == PROTOCOL_UDP { Protocol::Udp } else { Protocol::Tcp };
    ServiceAddress { socket, protocol }
}

/// Writes the node's own settings.
pub(super) fn write_node(ebpf: &mut Ebpf, node: NodeConfig) -> Result<(), DataplaneError> {
    let mut map: ArrayMut<'_, Plain<NodeConfig>> = view(ebpf, "NODE")?;
    map.set(0, Plain(node), 0).map_err(failed("NODE"))
}

/// Takes one step. `image` is what the maps hold before it.
pub(super) fn take(ebpf: &mut Ebpf, image: &Image, step: &Step) -> Result<(), DataplaneError> {
    match step {
        Step::PutBackend(id, entry) => {
            let known = image.backends.get(id).is_some_and(|known| known.is_same_backend(entry));
            put_backend(ebpf, *id, entry, known)
        }
        Step::RemoveBackend(id) => {
            let mut map: ArrayMut<'_, Plain<Backend>> = view(ebpf, "BACKENDS")?;
            map.set(*id, Plain(bytemuck::Zeroable::zeroed()), 0).map_err(failed("BACKENDS"))
        }
        Step::PutSlots(start, slots) => {
            let mut map: ArrayMut<'_, u32> = view(ebpf, "SLOTS")?;
            for (index, id) in (*start..).zip(slots) {
                map.set(index, *id, 0).map_err(failed("SLOTS"))?;
            }
            Ok(())
        }
        Step::AddVip(vip) => {
            let mut map: HashMut<'_, Plain<Address>, u32> = view(ebpf, "VIPS")?;
            map.insert(Plain(Address::from(*vip)), 1, 0).map_err(failed("VIPS"))?;
            let vips: Vec<IpAddr> = image.vips.iter().chain([vip]).copied().collect();
            write_vip_filter(ebpf, &vips, *vip)
        }
        Step::PutLimit(id, entry) => put_limit(ebpf, *id, entry.as_ref()),
        Step::RemoveVip(vip) => {
            let mut map: HashMut<'_, Plain<Address>, u32> = view(ebpf, "VIPS")?;
            map.remove(&Plain(Address::from(*vip))).map_err(failed("VIPS"))?;
            let vips: Vec<IpAddr> = image.vips.iter().filter(|other| *other != vip).copied().collect();
            write_vip_filter(ebpf, &vips, *vip)
        }
        Step::PutService(address, entry) => {
            if entry.forwarding == Some(Forwarding::KeepSource) {
                let backends = image.backends.values().filter(|backend| backend.service_id == entry.id);
                let addresses: Vec<IpAddr> = backends.map(|backend| backend.address.ip()).collect();
                add_to_answer_filter(ebpf, &addresses)?;
            }
            let mut map: HashMut<'_, Plain<ServiceKey>, Plain<Service>> = view(ebpf, "SERVICES")?;
            let value = Service {
                name_hash: entry.name_hash,
                id: entry.id,
                slots_base: entry.slots.start,
                slots_len: entry.slots.end - entry.slots.start,
                scheduler: scheduler_number(entry.scheduler),
                forwarding: entry.forwarding.map_or(SERVED_HERE, |forwarding| forwarding as u8),
                when_down: u8::from(entry.drops_when_down),
                denies: u8::from(entry.denies),
            };
            map.insert(service_key(address), Plain(value), 0).map_err(failed("SERVICES"))
        }
        Step::RemoveService(address) => {
            let mut map: HashMut<'_, Plain<ServiceKey>, Plain<Service>> = view(ebpf, "SERVICES")?;
            map.remove(&service_key(address)).map_err(failed("SERVICES"))
        }
    }
}

fn put_backend(ebpf: &mut Ebpf, id: u32, entry: &BackendEntry, known: bool) -> Result<(), DataplaneError> {
    let mut map: ArrayMut<'_, Plain<Backend>> = view(ebpf, "BACKENDS")?;
    let port = entry.address.port().to_be_bytes();
    let BackendEntry { name_hash, address, service_id, weight, max_flows, sibling_id } = *entry;
    let mut value = Backend::new(id, name_hash, address.ip().into(), port, service_id);
    (value.weight, value.max_flows, value.sibling_id) = (weight, max_flows, sibling_id);
    map.set(id, Plain(value), 0).map_err(failed("BACKENDS"))?;
    if known { Ok(()) } else { super::counters::clear_backend(ebpf, id) }
}

fn put_limit(ebpf: &mut Ebpf, id: u32, entry: Option<&LimitEntry>) -> Result<(), DataplaneError> {
    let value = entry.map_or(bytemuck::Zeroable::zeroed(), |entry| ServiceLimit {
        max_flows: entry.max_flows,
        // Service ids fit: there are no more than 8192.
        sibling_id: entry.sibling_id as u16,
        at_limit: match entry.at_limit {
            AtLimit::OtherBackend => abi::AtLimit::OtherBackend,
            AtLimit::Reset => abi::AtLimit::Reset,
            AtLimit::Drop => abi::AtLimit::Drop,
        } as u16,
    });
    let mut map: ArrayMut<'_, Plain<ServiceLimit>> = view(ebpf, "SERVICE_LIMITS")?;
    map.set(id, Plain(value), 0).map_err(failed("SERVICE_LIMITS"))
}

fn limit_entry(limit: &ServiceLimit) -> LimitEntry {
    LimitEntry {
        max_flows: limit.max_flows,
        sibling_id: limit.sibling_id.into(),
        at_limit: match limit.at_limit() {
            abi::AtLimit::OtherBackend => AtLimit::OtherBackend,
            abi::AtLimit::Reset => AtLimit::Reset,
            abi::AtLimit::Drop => AtLimit::Drop,
        },
    }
}

fn scheduler_number(kind: SchedulerKind) -> u8 {
    let scheduler = match kind {
        SchedulerKind::RoundRobin => Scheduler::RoundRobin,
        SchedulerKind::LeastConnections => Scheduler::LeastConnections,
        SchedulerKind::SourceHash => Scheduler::SourceHash,
        SchedulerKind::Maglev => Scheduler::Maglev,
    };
    scheduler as u8
}

fn scheduler_kind(scheduler: Scheduler) -> SchedulerKind {
    match scheduler {
        Scheduler::RoundRobin => SchedulerKind::RoundRobin,
        Scheduler::LeastConnections => SchedulerKind::LeastConnections,
        Scheduler::SourceHash => SchedulerKind::SourceHash,
        Scheduler::Maglev => SchedulerKind::Maglev,
    }
}

/// Adds addresses to those whose packets may be answers to clients. None is ever taken out: flows outlive their services, and
/// one address too many costs its packets a look-up.
fn add_to_answer_filter(ebpf: &mut Ebpf, addresses: &[IpAddr]) -> Result<(), DataplaneError> {
    let mut map: ArrayMut<'_, u64> = view(ebpf, "ANSWER_FILTER")?;
    for address in addresses {
        let (word, bit) = filter_position(Address::from(*address).last_bytes());
        let bits = map.get(&word, 0).map_err(failed("ANSWER_FILTER"))?;
        if bits >> bit & 1 == 0 {
            map.set(word, bits | 1 << bit, 0).map_err(failed("ANSWER_FILTER"))?;
        }
    }
    Ok(())
}

/// Writes the one word of the VIP filter that `changed` is in.
fn write_vip_filter(ebpf: &mut Ebpf, vips: &[IpAddr], changed: IpAddr) -> Result<(), DataplaneError> {
    let position = |vip: IpAddr| filter_position(Address::from(vip).last_bytes());
    let (word, _) = position(changed);
    let here = vips.iter().map(|vip| position(*vip)).filter(|(other, _)| *other == word);
    let bits = here.fold(0u64, |bits, (_, bit)| bits | 1 << bit);
    let mut map: ArrayMut<'_, u64> = view(ebpf, "VIP_FILTER")?;
    map.set(word, bits, 0).map_err(failed("VIP_FILTER"))
}

/// Reads the image back from maps that an earlier agent left.
pub(super) fn read_image(ebpf: &Ebpf) -> Result<Image, DataplaneError> {
    let mut image = Image::default();
    let vips: HashMap<&MapData, Plain<Address>, u32> = read_view(ebpf, "VIPS")?;
    for vip in vips.keys() {
        image.vips.insert(vip.map_err(failed("VIPS"))?.0.into());
    }
    let backends: Array<&MapData, Plain<Backend>> = read_view(ebpf, "BACKENDS")?;
    for id in 0..MAX_BACKENDS {
        let Plain(backend) = backends.get(&id, 0).map_err(failed("BACKENDS"))?;
        if backend.name_hash != 0 {
            let address = SocketAddr::new(backend.address.into(), u16::from_be_bytes(backend.port()));
            let entry = BackendEntry {
                name_hash: backend.name_hash,
                address,
                service_id: backend.service_id,
                weight: backend.weight,
                max_flows: backend.max_flows,
                sibling_id: backend.sibling_id,
            };
            image.backends.insert(id, entry);
        }
    }
    let services: HashMap<&MapData, Plain<ServiceKey>, Plain<Service>> = read_view(ebpf, "SERVICES")?;
    let slots: Array<&MapData, u32> = read_view(ebpf, "SLOTS")?;
    for pair in services.iter() {
        let (Plain(key), Plain(service)) = pair.map_err(failed("SERVICES"))?;
        let range = service.slots_base..service.slots_base.saturating_add(service.slots_len);
        if !range.is_empty() && !image.slots.contains_key(&range.start) {
            let ids: Result<Vec<u32>, _> = range.clone().map(|index| slots.get(&index, 0)).collect();
            image.slots.insert(range.start, ids.map_err(failed("SLOTS"))?);
        }
        let entry = ServiceEntry {
            name_hash: service.name_hash,
            id: service.id,
            scheduler: scheduler_kind(service.scheduler()),
            drops_when_down: service.when_down != 0,
            denies: service.denies != 0,
            forwarding: (!service.is_served_here()).then(|| service.forwarding()),
            slots: range,
        };
        image.services.insert(service_address(&key), entry);
    }
    let limits: Array<&MapData, Plain<ServiceLimit>> = read_view(ebpf, "SERVICE_LIMITS")?;
    for id in 0..MAX_SERVICES {
        let Plain(limit) = limits.get(&id, 0).map_err(failed("SERVICE_LIMITS"))?;
        if limit != bytemuck::Zeroable::zeroed() {
            image.limits.insert(id, limit_entry(&limit));
        }
    }
    Ok(image)
}

/// A per-CPU array, for reading.
pub(super) type PerCpu<'a, T> = PerCpuArray<&'a MapData, T>;
