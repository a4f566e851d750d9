//! The program's arguments and environment variables, in the form that C wants: NUL-terminated strings
//! that stay where they are, and lists of pointers to them.
//!
//! What `setenv` replaces is not freed: somebody may still hold what `getenv` gave (the C library does
//! the same).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::ptr;

/// Pointers to strings, with a null pointer at the end.
///
/// The final null pointer is absent from the list that nothing was ever added to.
pub struct StringList(Vec<*const c_char>);

// SAFETY: the pointers are to leaked allocations that nobody frees or moves.
unsafe impl Send for StringList {}

impl Default for StringList {
    fn default() -> Self {
        Self::new()
    }
}

impl StringList {
    /// An empty list.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a string. What follows a NUL in it is lost, as it is to C.
    pub fn push(&mut self, text: &[u8]) {
        self.0.pop();
        self.0.extend([leak(text), ptr::null()]);
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.0.len().saturating_sub(1)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The list as `argv` and `environ` have it. Valid until the list is changed.
    pub fn as_ptr(&self) -> *const *const c_char {
        const EMPTY: &[usize] = &[0];
        if self.0.is_empty() {
            EMPTY.as_ptr().cast()
        } else {
            self.0.as_ptr()
        }
    }

    /// The value of the variable `name`, if this is a list of `NAME=value`.
    pub fn get(&self, name: &[u8]) -> Option<*const c_char> {
        let entry = self.0[self.position(name)?];
        // SAFETY: the entry is at least `name` and `=` long, as `position` found.
        Some(unsafe { entry.add(name.len() + 1) })
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        let text = [name, b"=", value].concat();
        match self.position(name) {
            Some(index) => self.0[index] = leak(&text),
            None => self.push(&text),
        }
    }

    /// Removes a variable.
    pub fn unset(&mut self, name: &[u8]) {
        if let Some(index) = self.position(name) {
            self.0.remove(index);
        }
    }

    fn position(&self, name: &[u8]) -> Option<usize> {
        self.0[..self.len()].iter().position(|&entry| {
            // SAFETY: all entries but the last point to leaked NUL-terminated strings.
            let text = unsafe { core::ffi::CStr::from_ptr(entry) }.to_bytes();
            text.strip_prefix(name)
                .is_some_and(|rest| rest.first() == Some(&b'='))
        })
    }
}

fn leak(text: &[u8]) -> *const c_char {
    let mut bytes: Vec<u8> = text.iter().copied().take_while(|&byte| byte != 0).collect();
    bytes.push(0);
    Box::leak(bytes.into_boxed_slice()).as_ptr().cast()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(list: &StringList, name: &str) -> Option<String> {
        let value = list.get(name.as_bytes())?;
        // SAFETY: what `get` gives is NUL-terminated.
        let text = unsafe { core::ffi::CStr::from_ptr(value) };
        Some(text.to_str().unwrap().to_owned())
    }

    #[test]
    fn variables_are_set_replaced_and_removed() {
        let mut list = StringList::new();
        list.set(b"PORT", b"80");
        list.set(b"PORTS", b"");
        assert_eq!(get(&list, "PORT").as_deref(), Some("80"));
        assert_eq!(get(&list, "PORTS").as_deref(), Some(""));
        assert_eq!(get(&list, "POR"), None);
        list.set(b"PORT", b"8080\0hidden");
        assert_eq!(
            (get(&list, "PORT").as_deref(), list.len()),
            (Some("8080"), 2)
        );
        list.unset(b"PORT");
        assert_eq!((get(&list, "PORT"), list.len()), (None, 1));
    }
}
