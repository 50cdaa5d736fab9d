//! Four f32 values in an array, for any CPU; the compiler vectorizes them if it can.

use super::{Kernel, Simd, tables_in_memory};

/// Vectors that any CPU supports.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portable;

/// Defines methods that compute each lane separately.
macro_rules! lanewise {
    ($($name:ident($($x:ident),*) $e:expr;)*) => {$(
        #[inline(always)]
        fn $name(self, $($x: [f32; 4]),*) -> [f32; 4] {
            let mut lanes = [0.0; 4];
            let mut lane = 0;
            while lane < 4 {
                $(let $x = $x[lane];)*
                lanes[lane] = $e;
                lane += 1;
            }
            lanes
        }
    )*};
}

impl Simd for Portable {
    type V = [f32; 4];
    type I = [i32; 4];

    tables_in_memory!();

    const LANES: usize = 4;
    const TILE_ROWS: usize = 4;
    const PANEL_VECTORS: usize = 2;

    lanewise! {
        add(a, b) a + b;
        sub(a, b) a - b;
        mul(a, b) a * b;
        div(a, b) a / b;
        // Rounded twice: without an FMA instruction, rounding once would need a slow function call.
        mul_add(a, b, c) a * b + c;
        min(a, b) if a < b { a } else { b };
        max(a, b) if a > b { a } else { b };
        sqrt(a) a.sqrt();
        abs(a) a.abs();
        copy_sign(a, b) a.copysign(b);
        round(a) {
            // Adding 1.5 · 2²³ rounds away the fraction; larger values have none.
            let shift = 12_582_912.0;
            if a.abs() < 4_194_304.0 { (a + shift) - shift } else { a }
        };
        power_of_two(n) f32::from_bits(((n as i32 + 127) as u32) << 23);
        select_less(a, b, yes, no) if a < b { yes } else { no };
    }

    #[inline(never)]
    fn call<K: Kernel>(self, kernel: K) -> K::Output {
        kernel.run(self)
    }

    #[inline(always)]
    fn splat(self, x: f32) -> [f32; 4] {
        [x; 4]
    }

    #[inline(always)]
    fn splat_bytes(self, bytes: [u8; 4]) -> [i32; 4] {
        [i32::from_ne_bytes(bytes); 4]
    }

    #[inline(always)]
    fn dot_u8i8(self, sum: [i32; 4], a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| {
            let bytes = a[lane].to_ne_bytes().into_iter().zip(b[lane].to_ne_bytes());
            bytes.fold(sum[lane], |sum, (a, b)| {
                sum + i32::from(a) * i32::from(b as i8)
            })
        })
    }

    #[inline(always)]
    fn dot_i16(self, sum: [i32; 4], a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| {
            let words = [
                a[lane] as i16,
                b[lane] as i16,
                (a[lane] >> 16) as i16,
                (b[lane] >> 16) as i16,
            ];
            let [a, b, c, d] = words.map(i32::from);
            sum[lane] + a * b + c * d
        })
    }

    #[inline(always)]
    fn xor(self, a: [i32; 4], b: [i32; 4]) -> [i32; 4] {
        std::array::from_fn(|lane| a[lane] ^ b[lane])
    }

    #[inline(always)]
    fn to_f32(self, a: [i32; 4]) -> [f32; 4] {
        a.map(|a| a as f32)
    }

    #[inline(always)]
    unsafe fn load_bytes_from(self, from: *const i8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        unsafe { from.cast::<[i32; 4]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn store_u8_to(self, to: *mut u8, v: [f32; 4]) {
        // SAFETY: the caller's promise.
        unsafe { to.cast::<[u8; 4]>().write(self.round(v).map(|x| x as u8)) }
    }

    #[inline(always)]
    unsafe fn store_i16_to(self, to: *mut i16, v: [f32; 4]) {
        // SAFETY: the caller's promise; an array of i16 has their alignment.
        unsafe { to.cast::<[i16; 4]>().write(self.round(v).map(|x| x as i16)) }
    }

    #[inline(always)]
    unsafe fn load_from(self, from: *const f32) -> [f32; 4] {
        // SAFETY: the caller's promise; an array of f32 has their alignment.
        unsafe { from.cast::<[f32; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn store_to(self, to: *mut f32, v: [f32; 4]) {
        // SAFETY: the caller's promise; an array of f32 has their alignment.
        unsafe { to.cast::<[f32; 4]>().write(v) }
    }
}
