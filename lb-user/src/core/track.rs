//! Whether something that is looked at again and again is up: not every single answer counts.

/// Answers in a row, and what was made of them.
#[derive(Clone, Debug)]
pub struct Streak {
    rise: u32,
    fall: u32,
    is_up: Option<bool>,
    against: u32,
}

impl Streak {
    /// One that needs so many good answers in a row to be up, and so many bad ones to be down.
    pub fn new(rise: u32, fall: u32) -> Self {
        Self { rise, fall, is_up: None, against: 0 }
    }

    /// Takes an answer; whether it is up or down, if that is news. The first one decides at once.
    pub fn note(&mut self, is_good: bool) -> Option<bool> {
        if self.is_up == Some(is_good) {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if is_good { self.rise } else { self.fall };
        if self.is_up.is_some() && self.against < needed {
            return None;
        }
        self.against = 0;
        self.is_up = Some(is_good);
        self.is_up
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_in_a_row_are_needed_but_of_the_first() {
        let mut streak = Streak::new(2, 3);
        assert_eq!(streak.note(false), Some(false), "the first decides");
        let heard: Vec<_> = [true, false, true, true].map(|good| streak.note(good)).to_vec();
        assert_eq!(heard, [None, None, None, Some(true)], "a bad one in between begins anew");
        let heard: Vec<_> = [false, false, true, false, false, false].map(|good| streak.note(good)).to_vec();
        assert_eq!(heard, [None, None, None, None, None, Some(false)]);
    }
}
