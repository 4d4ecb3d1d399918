//! From weights to a slot table: the order in which the backends of a service take new flows.
//!
//! The dataplane goes round the table with one ticket per new flow, so that the table's proportions are
//! exactly the proportions of the flows. Owns the interleaving, the fitting of large weights into the
//! table, and the steps of slow start. Never decides which backends may take flows: callers leave out
//! those that are drained, in maintenance or down.
//!
//! How callers use it: for every backend that may take flows, [`ramped_weight`] of its weight and the
//! time since it came up; of these weights, [`slot_table`]. While any of them ramps, make the table again
//! now and then. Once nobody ramps, the table is that of the plain weights.

mod maglev;

pub use maglev::{Share, maglev_table};

use std::time::Duration;

/// The most slots a table has. Weights that would need more are scaled down to fit.
pub const MAX_SLOTS: usize = 4096;

/// In so many equal steps a backend reaches its share in slow start.
const RAMP_STEPS: u32 = 10;

/// Makes the table in which every backend has slots in proportion to its weight, spread evenly.
///
/// The proportions are exact when the weights, divided by what they have in common, add up to at most
/// [`MAX_SLOTS`]; otherwise they are as near as the table allows, and no backend with a weight goes
/// without a slot (unless there are more backends than slots). Weight 0 gets no slot. The same input
/// always makes the same table.
pub fn slot_table<T: Clone>(weights: &[(T, u32)]) -> Vec<T> {
    let plain: Vec<u32> = weights.iter().map(|(_, weight)| *weight).collect();
    let slots = fit(&reduce(&plain));
    interleave(&slots)
        .into_iter()
        .filter_map(|index| weights.get(index))
        .map(|(who, _)| who.clone())
        .collect()
}

/// The weight of a backend that came up `elapsed` ago, in tenths of its weight.
///
/// A backend outside its slow start has ten tenths, so all backends of a service must go through here
/// or none. The factor leaves the table again ([`slot_table`] divides by what all have in common).
pub fn ramped_weight(weight: u32, elapsed: Duration, slow_start: Duration) -> u32 {
    weight.saturating_mul(ramp_step(elapsed, slow_start))
}

/// Which of the ten steps it is: at least the first, so that a new backend is tried at all.
fn ramp_step(elapsed: Duration, slow_start: Duration) -> u32 {
    if elapsed >= slow_start {
        return RAMP_STEPS;
    }
    let passed = elapsed.as_nanos() * u128::from(RAMP_STEPS - 1) / slow_start.as_nanos().max(1);
    1 + u32::try_from(passed).unwrap_or(RAMP_STEPS - 1)
}

/// Divides the weights by what they have in common.
fn reduce(weights: &[u32]) -> Vec<u32> {
    let common = weights.iter().copied().fold(0, gcd).max(1);
    weights.iter().map(|weight| weight / common).collect()
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Turns weights into numbers of slots that fit the table, by largest remainder.
fn fit(weights: &[u32]) -> Vec<usize> {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    if total <= MAX_SLOTS as u64 {
        return weights.iter().map(|weight| *weight as usize).collect();
    }
    // Heaviest first; of equals, the earlier one first.
    let mut order: Vec<usize> = (0..weights.len()).filter(|index| weights[*index] > 0).collect();
    order.sort_by_key(|index| std::cmp::Reverse(weights[*index]));
    order.truncate(MAX_SLOTS);

    // Everybody's one slot first; the others are shared out by what is still owed.
    let mut slots = vec![0; weights.len()];
    let mut owed = Vec::with_capacity(order.len());
    let mut free = MAX_SLOTS;
    for &index in &order {
        let exact = u64::from(weights[index]) * MAX_SLOTS as u64;
        let whole = (exact / total).max(1);
        slots[index] = whole as usize;
        free = free.saturating_sub(whole as usize);
        owed.push((exact.saturating_sub(whole * total), index));
    }
    owed.sort_by_key(|(remainder, _)| std::cmp::Reverse(*remainder));
    for (_, index) in owed.into_iter().take(free) {
        slots[index] += 1;
    }
    trim(&mut slots, &order);
    slots
}

/// Takes slots back from the heaviest when everybody's one slot made the table too long.
fn trim(slots: &mut [usize], order: &[usize]) {
    let mut excess = slots.iter().sum::<usize>().saturating_sub(MAX_SLOTS);
    while excess > 0 {
        let Some(&heaviest) = order.iter().max_by_key(|index| (slots[**index], std::cmp::Reverse(**index)))
        else {
            return;
        };
        slots[heaviest] -= 1;
        excess -= 1;
    }
}

/// Puts `slots[i]` times the index `i` into a row so that each is spread as evenly as can be,
/// also where the row's end meets its beginning.
fn interleave(slots: &[usize]) -> Vec<usize> {
    let total: usize = slots.iter().sum();
    let heaviest = (0..slots.len()).find(|index| slots[*index] * 2 > total);
    let Some(heaviest) = heaviest else {
        let mut row = smooth(slots, total);
        part_twins(&mut row);
        return row;
    };

    // One backend has more than half: the others stand apart, and it fills the gaps evenly.
    // Smooth weighting would put two of its runs together at the table's end.
    let count = slots[heaviest];
    let mut others = slots.to_vec();
    others[heaviest] = 0;
    let others = interleave(&others);
    let gaps = others.len().max(1);
    let mut row = Vec::with_capacity(total);
    for gap in 0..gaps {
        let fill = (gap + 1) * count / gaps - gap * count / gaps;
        row.extend(std::iter::repeat_n(heaviest, fill));
        row.extend(others.get(gap));
    }
    row
}

/// Smooth weighted round robin: everybody earns his weight each turn, the richest takes the slot and
/// pays what all have earned.
fn smooth(slots: &[usize], total: usize) -> Vec<usize> {
    let mut credit = vec![0_i64; slots.len()];
    let mut row = Vec::with_capacity(total);
    for _ in 0..total {
        let mut richest: Option<usize> = None;
        for (index, earned) in slots.iter().enumerate().filter(|(_, earned)| **earned > 0) {
            credit[index] += *earned as i64;
            if richest.is_none_or(|best| credit[index] > credit[best]) {
                richest = Some(index);
            }
        }
        let Some(richest) = richest else { break };
        credit[richest] -= total as i64;
        row.push(richest);
    }
    row
}

/// Parts neighbours that are the same, which smooth weighting leaves now and then.
///
/// Needs a row of which nothing has more than half. Then, wherever `x x` stand together, somewhere two
/// that are not `x` stand together too, and one `x` can go between them: that makes no new twins.
fn part_twins(row: &mut [usize]) {
    let len = row.len();
    let twin_of = |row: &[usize]| (0..len).find(|at| row[*at] == row[(at + 1) % len]);
    while let Some(at) = twin_of(row) {
        let turn = (at + 1) % len;
        row.rotate_left(turn);
        let moved = row[0];
        let gap = (1..len.saturating_sub(1)).find(|at| row[*at] != moved && row[at + 1] != moved);
        if let Some(gap) = gap {
            row[..=gap].rotate_left(1);
        }
        row.rotate_right(turn);
        if gap.is_none() {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
