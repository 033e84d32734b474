//! `TokenSlab`: values by token, where a token carries the generation of its slot.
//!
//! An event that was meant for a value which is gone finds nothing, even when the slot (and with it
//! the file descriptor) has a new tenant. Slots also remember whether a timer entry stands for them,
//! so that there is never more than one entry a slot. Knows nothing of what it holds.

/// Names a value of a `TokenSlab`: the generation in the upper 32 bits, the slot in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    const fn new(index: u32, generation: u32) -> Self {
        Self(((generation as u64) << 32) | index as u64)
    }

    /// The slot.
    #[must_use]
    pub const fn index(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[derive(Debug)]
struct Slot<T> {
    value: Option<T>,
    generation: u32,
    is_timer_armed: bool,
}

/// Values by token. Memory grows with the greatest number of values held at once.
#[derive(Debug)]
pub struct TokenSlab<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

impl<T> TokenSlab<T> {
    /// Holds nothing yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// The token of a value that was put in; `None`: 2^32 - 1 values are held.
    pub fn insert(&mut self, value: T) -> Option<Token> {
        if let Some(index) = self.free.pop() {
            let slot = self.slots.get_mut(index as usize)?;
            slot.value = Some(value);
            return Some(Token::new(index, slot.generation));
        }
        let index = u32::try_from(self.slots.len()).ok().filter(|index| *index < u32::MAX)?;
        self.slots.push(Slot { value: Some(value), generation: 0, is_timer_armed: false });
        Some(Token::new(index, 0))
    }

    /// The value of a token, unless it is gone.
    #[must_use]
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(token.index() as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == token.generation())
    }

    /// The value of a token, unless it is gone.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let slot = self.slots.get_mut(token.index() as usize)?;
        if slot.generation == token.generation() { slot.value.as_mut() } else { None }
    }

    /// Takes a value out; its token finds nothing from now on.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self.slots.get_mut(token.index() as usize)?;
        if slot.generation != token.generation() {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(token.index());
        Some(value)
    }

    /// Notes that a timer entry stands for the slot; false: one stood there already.
    pub fn arm_timer(&mut self, index: u32) -> bool {
        self.slots
            .get_mut(index as usize)
            .is_some_and(|slot| !std::mem::replace(&mut slot.is_timer_armed, true))
    }

    /// The timer entry of a slot has fired: its token now, unless the slot is empty.
    pub fn handle_timer(&mut self, index: u32) -> Option<Token> {
        let slot = self.slots.get_mut(index as usize)?;
        slot.is_timer_armed = false;
        self.token_at(index)
    }

    /// The token of whoever lives in a slot; `None`: nobody does.
    #[must_use]
    pub fn token_at(&self, index: u32) -> Option<Token> {
        let slot = self.slots.get(index as usize)?;
        slot.value.as_ref().map(|_| Token::new(index, slot.generation))
    }

    /// The tokens of all values held now.
    pub fn tokens(&self) -> Vec<Token> {
        let held = self.slots.iter().enumerate().filter(|(_, slot)| slot.value.is_some());
        held.filter_map(|(index, slot)| Some(Token::new(u32::try_from(index).ok()?, slot.generation)))
            .collect()
    }

    /// How many values are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether nothing is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<T> Default for TokenSlab<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn token_of_a_removed_value_does_not_find_the_next_tenant() {
        let mut slab = TokenSlab::new();
        let old = slab.insert("a").unwrap();
        assert_eq!(slab.remove(old), Some("a"));
        let new = slab.insert("b").unwrap();
        assert_eq!(new.index(), old.index());
        assert_eq!(slab.get(old), None);
        assert_eq!(slab.remove(old), None);
        assert_eq!(slab.get(new), Some(&"b"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn a_slot_has_one_timer_entry_whoever_lives_there() {
        let mut slab = TokenSlab::new();
        let old = slab.insert(1).unwrap();
        assert!(slab.arm_timer(old.index()));
        slab.remove(old);
        assert_eq!(slab.handle_timer(old.index()), None);
        let new = slab.insert(2).unwrap();
        assert!(slab.arm_timer(new.index()));
        assert!(!slab.arm_timer(new.index()));
        assert_eq!(slab.handle_timer(new.index()), Some(new));
        assert_eq!(slab.tokens(), vec![new]);
    }
}
