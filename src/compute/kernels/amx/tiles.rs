//! What tiles do: how rows are laid into them, and the products of a pair of tiles, which are sums in tiles too.

use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::sync::OnceLock;

use super::split::{self, DEPTH, TILE};
use crate::compute::kernels::buffer::Buffer;
use crate::compute::kernels::lanes::WIDTH;

/// Whether this processor has tiles of bytes, and the system lets this process use them: it asks, since a thread that
/// does has eight kilobytes more to be saved.
pub fn is_available() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        const TILES: u32 = 1 << 24;
        const BYTES: u32 = 1 << 25;
        let features = __cpuid_count(7, 0).edx;
        features & TILES != 0 && features & BYTES != 0 && permitted()
    })
}

/// Linux's `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`, for the whole process.
fn permitted() -> bool {
    const ARCH_PRCTL: isize = 158;
    const REQUEST: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: it changes nothing but the permission.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") REQUEST,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    result == 0
}

/// Panels as digits: their tiles, and what each column is scaled back by. `None` where there are no tiles.
pub fn split(panels: &[f32], k: usize) -> Option<(Buffer, Buffer)> {
    // SAFETY: every processor with AMX has AVX-512.
    is_available().then(|| unsafe { split::panels(panels, k) })
}

/// So few rows that the three digits of all fit one tile. The products of bytes are the same, and half as many tiles are
/// multiplied: of rows r and s against a tile of each digit of the columns,
///
/// ```text
///            | × high        × middle      × low
/// r high     | r, high sum   r, middle     r, low
/// s high     | s, high sum   s, middle     s, low
/// r middle   | r, middle     r, low        –
/// s middle   | s, middle     s, low        –
/// r low      | r, low        –             –
/// s low      | s, low        –             –
/// ```
const FEW: usize = WIDTH / 3;

/// How rows are laid into tiles.
#[derive(Clone, Copy)]
pub enum Shape {
    /// A tile a digit, for so many rows: as few tiles as there can be, all as high, since each row takes its time whether
    /// it is there or not.
    Tall(usize),
    /// All digits of so many rows in one tile.
    Few(usize),
}

impl Shape {
    pub fn of(rows: usize) -> Self {
        if rows <= FEW { Self::Few(rows) } else { Self::Tall(rows.div_ceil(rows.div_ceil(WIDTH))) }
    }

    /// Rows that a block of tiles holds.
    pub fn rows(self) -> usize {
        let (Self::Tall(rows) | Self::Few(rows)) = self;
        rows
    }

    /// Bytes from a row's digit to its next one.
    pub fn apart(self) -> usize {
        match self {
            Self::Tall(_) => TILE,
            Self::Few(rows) => rows * DEPTH,
        }
    }
}

/// What a pair of tiles makes: for each power of the base, sums of products of digits.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub struct Sums(pub [[[i32; WIDTH]; WIDTH]; 3]);

impl Sums {
    pub const NONE: Self = Self([[[0; WIDTH]; WIDTH]; 3]);

    /// What [`multiply_few`] made of so many rows becomes what [`multiply`] would have.
    #[inline(always)]
    fn join(&mut self, rows: usize) {
        let [first, second, third] = &mut self.0;
        for row in 0..rows {
            for lane in 0..WIDTH {
                third[row][lane] += second[rows + row][lane] + first[2 * rows + row][lane];
                second[row][lane] += first[rows + row][lane];
            }
        }
    }
}

/// Tiles of 64 bytes a line: sums and rows, of which there are as many as the shape says, and columns.
pub unsafe fn configure(shape: Shape) {
    #[repr(align(64))]
    struct Tiles([u8; 64]);
    // Three of sums; of rows one a digit, or one.
    let (first, high) = match shape {
        Shape::Tall(rows) => (6, rows),
        Shape::Few(rows) => (4, 3 * rows),
    };
    let mut tiles = Tiles([0; 64]);
    // The only palette there is; then two bytes a tile for the bytes of a row, and one for its lines.
    tiles.0[0] = 1;
    for tile in 0..8 {
        tiles.0[16 + 2 * tile] = 64;
        #[expect(clippy::cast_possible_truncation, reason = "at most 16")]
        let lines = if tile < first { high as u8 } else { 16 };
        tiles.0[48 + tile] = lines;
    }
    // SAFETY: the shape is one that the palette has.
    unsafe { asm!("ldtilecfg [{}]", in(reg) tiles.0.as_ptr(), options(nostack, readonly)) };
}

/// Clears the tiles: a thread without them has less to be saved.
pub unsafe fn release() {
    // SAFETY: nobody uses them any more.
    unsafe { asm!("tilerelease", options(nostack, nomem)) };
}

/// Begins new sums.
///
/// # Safety
/// The tiles must be configured.
#[inline(always)]
pub unsafe fn begin() {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            out("tmm0") _, out("tmm1") _, out("tmm2") _,
            options(nostack, nomem),
        );
    }
}

/// Adds to the sums the products of a block of rows' digits, `a`, and of columns', `b`. They stay in tiles.
///
/// # Safety
/// The blocks must be there, and the tiles configured for the shape.
#[inline(always)]
pub unsafe fn multiply(shape: Shape, a: *const u8, b: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        match shape {
            Shape::Tall(_) => multiply_many(a, b),
            Shape::Few(_) => multiply_few(a, b),
        }
    }
}

/// A tile of all three digits of few rows, by each digit of columns.
#[inline(always)]
unsafe fn multiply_few(a: *const u8, b: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tileloadd tmm3, [{a} + {line}]",
            "tileloadd tmm4, [{b} + {line}]",
            "tileloadd tmm5, [{b} + {line} + 1024]",
            "tdpbssd tmm0, tmm3, tmm4",
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tdpbssd tmm1, tmm3, tmm5",
            "tdpbssd tmm2, tmm3, tmm6",
            a = in(reg) a,
            b = in(reg) b,
            line = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly),
        );
    }
}

/// A tile of each digit of rows, by each digit of columns.
#[inline(always)]
unsafe fn multiply_many(a: *const u8, b: *const u8) {
    // SAFETY: the caller's.
    unsafe {
        asm!(
            "tileloadd tmm3, [{a} + {line}]",
            "tileloadd tmm6, [{b} + {line}]",
            "tileloadd tmm4, [{a} + {line} + 1024]",
            "tdpbssd tmm0, tmm3, tmm6",
            "tdpbssd tmm1, tmm4, tmm6",
            "tileloadd tmm5, [{a} + {line} + 2048]",
            "tileloadd tmm7, [{b} + {line} + 1024]",
            "tdpbssd tmm2, tmm5, tmm6",
            "tdpbssd tmm1, tmm3, tmm7",
            "tileloadd tmm6, [{b} + {line} + 2048]",
            "tdpbssd tmm2, tmm4, tmm7",
            "tdpbssd tmm2, tmm3, tmm6",
            a = in(reg) a,
            b = in(reg) b,
            line = in(reg) 64_usize,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
            options(nostack, readonly),
        );
    }
}

/// The sums that [`multiply`] made, from their tiles.
///
/// # Safety
/// Nothing may have changed the tiles since.
#[inline(always)]
pub unsafe fn store(shape: Shape, sums: &mut Sums) {
    // SAFETY: the caller's: they are three tiles.
    unsafe {
        asm!(
            "tilestored [{sums} + {line}], tmm0",
            "tilestored [{sums} + {line} + 1024], tmm1",
            "tilestored [{sums} + {line} + 2048], tmm2",
            sums = in(reg) &raw mut *sums,
            line = in(reg) 64_usize,
            options(nostack),
        );
    }
    if let Shape::Few(rows) = shape {
        sums.join(rows);
    }
}
