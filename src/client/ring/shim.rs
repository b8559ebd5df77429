//! Memory that two threads, or two processes, share: the only place where the crate names atomics, so that loom can stand in
//! for them.
//!
//! In a plain build, [`Words`] is `AtomicU64` over memory that it is given, payload is moved by plain copies, and [`Slot`] is
//! an `UnsafeCell`. With `--cfg loom`, a word is a loom atomic beside a loom cell, and payload moves word by word. The
//! cell makes loom reject a payload access that is not ordered with every other access to that word, including the
//! consumer's look at a header.

#![expect(clippy::disallowed_types, reason = "this is the shim")]

#[cfg(loom)]
pub(crate) use modelled::{Scratch, Slot, Words};
#[cfg(not(loom))]
pub(crate) use real::{Scratch, Slot, Words};

#[cfg(not(loom))]
mod real {
    use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
    use std::any::Any;
    use std::cell::UnsafeCell;
    use std::fmt;
    use std::ptr::NonNull;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// A handle on shared words.
    ///
    /// Invariant: `base` is valid for reads and writes of `len` words, page-aligned, until `owner` is dropped.
    pub(crate) struct Words {
        base: NonNull<AtomicU64>,
        len: usize,
        owner: Arc<dyn Any + Send + Sync>,
    }

    // SAFETY: the words are reached through atomics, or through the unsafe methods whose callers vouch for the order.
    unsafe impl Send for Words {}
    // SAFETY: as above.
    unsafe impl Sync for Words {}

    impl fmt::Debug for Words {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Words").field("len", &self.len).finish_non_exhaustive()
        }
    }

    /// What a read may need beside the words: nothing here.
    #[derive(Debug, Default)]
    pub(crate) struct Scratch(());

    /// Pages of the heap.
    struct Pages(NonNull<u8>, Layout);

    // SAFETY: this only frees the memory; access is through `Words`.
    unsafe impl Send for Pages {}
    // SAFETY: as above.
    unsafe impl Sync for Pages {}

    impl Drop for Pages {
        fn drop(&mut self) {
            // SAFETY: `Words::heap` got exactly this layout from the same allocator, and the last `Words` has gone.
            unsafe { dealloc(self.0.as_ptr(), self.1) }
        }
    }

    impl Words {
        /// Zeroed memory on the heap, at least `bytes` of it, page-aligned, every page touched.
        ///
        /// # Panics
        /// If `bytes` is beyond what the machine can address.
        pub fn heap(bytes: usize) -> Words {
            let page = crate::ring::PAGE;
            let layout = Layout::from_size_align(bytes.max(1).next_multiple_of(page), page).expect("a possible size");
            // SAFETY: the layout's size is not zero.
            let Some(base) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
            for at in (0..layout.size()).step_by(page) {
                // SAFETY: `at` is within the allocation. Volatile, so that the page is there before the first record.
                unsafe { base.add(at).write_volatile(0) };
            }
            let owner = Arc::new(Pages(base, layout));
            // SAFETY: the allocation is as large and as aligned as stated, and `owner` keeps it.
            unsafe { Words::from_raw(base, layout.size(), owner) }
        }

        /// Words over memory that `owner` keeps.
        ///
        /// # Safety
        /// `base` is page-aligned and valid for reads and writes of `bytes` bytes until `owner` is dropped (for reads
        /// alone where nothing will be stored), and all who reach this memory do so through `Words`, here or in another
        /// process.
        pub unsafe fn from_raw(base: NonNull<u8>, bytes: usize, owner: Arc<dyn Any + Send + Sync>) -> Words {
            Words { base: base.cast(), len: bytes / 8, owner }
        }

        /// Another handle on the same words.
        pub fn share(&self) -> Words {
            Words { base: self.base, len: self.len, owner: Arc::clone(&self.owner) }
        }

        /// How many words there are.
        pub fn len(&self) -> usize {
            self.len
        }

        #[inline]
        fn word(&self, at: usize) -> &AtomicU64 {
            assert!(at < self.len);
            // SAFETY: `at` is below `len`, and `base` is valid for `len` words while `self` lives.
            unsafe { self.base.add(at).as_ref() }
        }

        /// A word, Acquire.
        #[inline]
        pub fn load_acquire(&self, at: usize) -> u64 {
            self.word(at).load(Ordering::Acquire)
        }

        /// A word, Relaxed.
        #[inline]
        pub fn load_relaxed(&self, at: usize) -> u64 {
            self.word(at).load(Ordering::Relaxed)
        }

        /// Stores a word, Release.
        #[inline]
        pub fn store_release(&self, at: usize, value: u64) {
            self.word(at).store(value, Ordering::Release);
        }

        /// Stores a word, Relaxed.
        #[inline]
        pub fn store_relaxed(&self, at: usize, value: u64) {
            self.word(at).store(value, Ordering::Relaxed);
        }

        /// Prefetches the cache line at byte offset `at`. Changes nothing.
        #[inline]
        pub fn fetch(&self, at: usize) {
            if cfg!(target_arch = "x86_64") && at < self.len * 8 {
                // SAFETY: a prefetch of an address within the region; it reads and writes nothing.
                #[cfg(target_arch = "x86_64")]
                unsafe {
                    let line = self.base.cast::<i8>().add(at);
                    core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr());
                }
            }
        }

        /// Copies `bytes` to byte offset `at`.
        ///
        /// # Safety
        /// Nobody else reaches these bytes until a Release store of the caller has been seen by an Acquire load.
        #[inline]
        pub unsafe fn copy_in(&self, at: usize, bytes: &[u8]) {
            assert!(at + bytes.len() <= self.len * 8);
            // SAFETY: the range is within the region; exclusive by this method's contract, so it cannot overlap `bytes`.
            unsafe {
                self.base.cast::<u8>().add(at).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len())
            };
        }

        /// The `len` bytes at byte offset `at`.
        ///
        /// # Safety
        /// An Acquire load of the caller has seen the Release store that came after these bytes were written, and they
        /// are not written again until a Release store of the caller has been seen. (A producer in another process that
        /// breaks this rule gives the reader wrong bytes, never bytes outside of the region.)
        #[inline]
        pub unsafe fn bytes<'a>(&'a self, at: usize, len: usize, _: &'a mut Scratch) -> &'a [u8] {
            assert!(at + len <= self.len * 8);
            // SAFETY: the range is within the region, which was zeroed at first and so is initialised; not written
            // meanwhile, by this method's contract.
            unsafe { NonNull::slice_from_raw_parts(self.base.cast::<u8>().add(at), len).as_ref() }
        }
    }

    /// A place for one value. One thread at a time reaches it; the words beside it say which.
    pub(crate) struct Slot<T>(UnsafeCell<Option<T>>);

    // SAFETY: the value is reached through the unsafe methods alone, whose callers vouch that one thread at a time does so.
    unsafe impl<T: Send> Sync for Slot<T> {}

    impl<T> Default for Slot<T> {
        fn default() -> Slot<T> {
            Slot(UnsafeCell::new(None))
        }
    }

    impl<T> Slot<T> {
        /// Puts a value in.
        ///
        /// # Safety
        /// Nobody else reaches the slot until a Release store of the caller has been seen by an Acquire load, and an Acquire
        /// load of the caller has seen the Release store after the last access of anybody else.
        pub unsafe fn put(&self, value: T) {
            // SAFETY: exclusive, by this method's contract.
            unsafe { *self.0.get() = Some(value) }
        }

        /// Takes the value out.
        ///
        /// # Safety
        /// As for [`Slot::put`].
        pub unsafe fn take(&self) -> Option<T> {
            // SAFETY: exclusive, by this method's contract.
            unsafe { (*self.0.get()).take() }
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::sync::Arc;

    use loom::cell::UnsafeCell;
    use loom::sync::atomic::{AtomicU64, Ordering};

    /// A word, and what loom tracks plain access to it with.
    #[derive(Debug)]
    struct Word {
        value: AtomicU64,
        plain: UnsafeCell<()>,
    }

    /// A handle on shared words, as loom models them.
    #[derive(Debug)]
    pub(crate) struct Words {
        words: Arc<[Word]>,
    }

    // SAFETY: the cells hold nothing; loom itself is what looks at who reaches them when.
    unsafe impl Send for Words {}
    // SAFETY: as above.
    unsafe impl Sync for Words {}

    /// The copy that a read gives a slice of.
    #[derive(Debug, Default)]
    pub(crate) struct Scratch(Vec<u8>);

    impl Words {
        /// Zeroed words.
        pub fn heap(bytes: usize) -> Words {
            let word = |_| Word { value: AtomicU64::new(0), plain: UnsafeCell::new(()) };
            Words { words: (0..bytes.div_ceil(8)).map(word).collect() }
        }

        /// Another handle on the same words.
        pub fn share(&self) -> Words {
            Words { words: Arc::clone(&self.words) }
        }

        /// How many words there are.
        pub fn len(&self) -> usize {
            self.words.len()
        }

        /// The word, for an atomic access: it may meet another such access, but no unordered write of payload.
        fn atomic(&self, at: usize) -> &AtomicU64 {
            let word = &self.words[at];
            word.plain.with(|_| ());
            &word.value
        }

        /// A word, Acquire.
        pub fn load_acquire(&self, at: usize) -> u64 {
            self.atomic(at).load(Ordering::Acquire)
        }

        /// A word, Relaxed.
        pub fn load_relaxed(&self, at: usize) -> u64 {
            self.atomic(at).load(Ordering::Relaxed)
        }

        /// Stores a word, Release.
        pub fn store_release(&self, at: usize, value: u64) {
            self.atomic(at).store(value, Ordering::Release);
        }

        /// Stores a word, Relaxed.
        pub fn store_relaxed(&self, at: usize, value: u64) {
            self.atomic(at).store(value, Ordering::Relaxed);
        }

        /// Changes nothing.
        pub fn fetch(&self, _: usize) {}

        /// Copies `bytes` to byte offset `at`.
        ///
        /// # Safety
        /// As for the real words; here a breach is a failed test.
        pub unsafe fn copy_in(&self, at: usize, bytes: &[u8]) {
            for (i, byte) in bytes.iter().enumerate() {
                let word = &self.words[(at + i) / 8];
                word.plain.with_mut(|_| ());
                let mut value = word.value.load(Ordering::Relaxed).to_le_bytes();
                value[(at + i) % 8] = *byte;
                word.value.store(u64::from_le_bytes(value), Ordering::Relaxed);
            }
        }

        /// The `len` bytes at byte offset `at`.
        ///
        /// # Safety
        /// As for the real words; here a breach is a failed test.
        pub unsafe fn bytes<'a>(&'a self, at: usize, len: usize, scratch: &'a mut Scratch) -> &'a [u8] {
            scratch.0.clear();
            for i in at..at + len {
                let word = &self.words[i / 8];
                word.plain.with(|_| ());
                scratch.0.push(word.value.load(Ordering::Relaxed).to_le_bytes()[i % 8]);
            }
            &scratch.0
        }
    }

    /// A place for one value, as loom models it.
    pub(crate) struct Slot<T>(UnsafeCell<Option<T>>);

    // SAFETY: loom itself is what looks at who reaches the cell when.
    unsafe impl<T: Send> Sync for Slot<T> {}

    impl<T> Default for Slot<T> {
        fn default() -> Slot<T> {
            Slot(UnsafeCell::new(None))
        }
    }

    impl<T> Slot<T> {
        /// Puts a value in.
        ///
        /// # Safety
        /// As for the real slot; here a breach is a failed test.
        pub unsafe fn put(&self, value: T) {
            // SAFETY: loom lets one thread at a time in here.
            self.0.with_mut(|slot| unsafe { *slot = Some(value) });
        }

        /// Takes the value out.
        ///
        /// # Safety
        /// As for the real slot; here a breach is a failed test.
        pub unsafe fn take(&self) -> Option<T> {
            // SAFETY: loom lets one thread at a time in here.
            self.0.with_mut(|slot| unsafe { (*slot).take() })
        }
    }
}
