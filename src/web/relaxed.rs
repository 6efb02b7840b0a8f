//! The integer product in WebAssembly's relaxed SIMD, in a module of its own: browsers that lack it
//! refuse modules in which it occurs. The start checks whether the browser has it and whether it is
//! faster.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_encoder::{
    BlockType, CodeSection, EntityType, ExportKind, ExportSection, Function, FunctionSection,
    ImportSection, InstructionSink, MemArg, MemArgTarget, MemoryType, Module, TypeSection, ValType,
};

use super::glue::wait;
use processor::quantised::{self, Activations, Call, FourInBytes, Packed, Product, WORDS, Width};

#[wasm_bindgen(module = "/src/web/shim.js")]
extern "C" {
    #[wasm_bindgen(js_name = startRelaxed)]
    fn start_relaxed(module: &Uint8Array, memory: &JsValue) -> js_sys::Promise;
    /// The function of the module for tiles of `tile` tokens.
    #[wasm_bindgen(js_name = relaxedProduct)]
    fn relaxed_product(
        tile: u32,
        codes: u32,
        scales: u32,
        offsets: u32,
        x: u32,
        y: u32,
        panels: u32,
        blocks: u32,
        tiles: u32,
    );
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance)]
    fn now() -> f64;
}

/// Uses relaxed SIMD for weights that are loaded from now on, if the browser has it and it is faster:
/// a processor without the instruction needs more instructions for it than for plain SIMD. Returns
/// whether it is used.
pub(super) async fn start() -> bool {
    if quantised::byte_product().is_none()
        && let Some(product) = load().await
        && is_faster(product)
    {
        quantised::multiply_bytes_with(product);
    }
    quantised::byte_product().is_some()
}

/// The product in relaxed SIMD, where the browser has that.
pub async fn load() -> Option<Product> {
    let module = Uint8Array::from(&module()[..]);
    let started = wait(start_relaxed(&module, &wasm_bindgen::memory())).await;
    started.ok()?.is_truthy().then_some(product as Product)
}

/// Times both products of a matrix of common size in turns, long enough for the browser to have
/// compiled them well.
fn is_faster(product: Product) -> bool {
    const SIDE: usize = 576;
    const TRIAL_MS: f64 = 50.0;
    const PRODUCTS: usize = 100;
    let x = Activations::new(&[1.0; SIDE], SIDE);
    let packed = [None, Some(product)].map(|p| Packed::new_for(SIDE, SIDE, Width::Four, p));
    let mut best_ms = [f64::INFINITY; 2];
    let begin = now();
    while now() - begin < TRIAL_MS {
        for (packed, best_ms) in packed.iter().flatten().zip(&mut best_ms) {
            let started = now();
            for _ in 0..PRODUCTS {
                std::hint::black_box(packed.product(&x));
            }
            *best_ms = best_ms.min(now() - started);
        }
    }
    best_ms[1] < best_ms[0]
}

fn product(call: Call<'_>) {
    let panels = call.panels() as u32;
    relaxed_product(
        call.tile as u32,
        call.codes.as_ptr() as u32,
        call.scales.as_ptr() as u32,
        call.offsets.as_ptr() as u32,
        call.x.as_ptr() as u32,
        call.y.as_mut_ptr() as u32,
        panels,
        call.blocks as u32,
        call.tiles as u32,
    );
}

/// SIMD registers of a panel, of four rows each.
const REGISTERS: u32 = 4;
/// Bytes of one block of a panel: of its codes, and of its scales or offsets.
const CODES: i32 = size_of::<FourInBytes>() as i32;
const SCALES: i32 = 64;

/// A module that reads and writes this one's memory and has a function for each size of tile.
fn module() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 8], []);
    let mut imports = ImportSection::new();
    let memory = MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    };
    imports.import("host", "memory", EntityType::Memory(memory));
    let mut functions = FunctionSection::new();
    let mut exports = ExportSection::new();
    let mut code = CodeSection::new();
    for (at, tile) in (1..=3).enumerate() {
        functions.function(0);
        exports.export(&tile.to_string(), ExportKind::Func, at as u32);
        code.function(&function(tile));
    }
    let mut module = Module::new();
    module
        .section(&types)
        .section(&imports)
        .section(&functions)
        .section(&exports)
        .section(&code);
    module.finish()
}

// The parameters, then numbers of 32 bits.
const CODES_AT: u32 = 0;
const SCALES_AT: u32 = 1;
const OFFSETS_AT: u32 = 2;
const X_AT: u32 = 3;
const Y_AT: u32 = 4;
const PANELS: u32 = 5;
const BLOCKS: u32 = 6;
const TILES: u32 = 7;
/// The address of the current block: codes, scales, offsets, x; and its number from the end.
const CODE: u32 = 8;
const SCALE: u32 = 9;
const OFFSET: u32 = 10;
const X: u32 = 11;
const BLOCK: u32 = 12;
/// The tile: its number from the end, its x, its y.
const TILE: u32 = 13;
const TILE_X: u32 = 14;
const TILE_Y: u32 = 15;
/// Bytes from one block of x to the next, and from one token of y to the next.
const X_STEP: u32 = 16;
const Y_STEP: u32 = 17;
/// The first number of 128 bits.
const FIRST: u32 = 18;

/// The product for tiles of `tile` tokens: what `Packed::few` does, in bytes.
fn function(tile: u32) -> Function {
    // As many registers of rows at a time as leave room for the sums of all tokens.
    let at_once = match tile {
        1 => 4,
        2 => 2,
        _ => 1,
    };
    let (mask, x, sums) = (FIRST, FIRST + 1, FIRST + 2);
    let high = sums + REGISTERS * tile;
    let low = high + at_once * tile;
    let words = low + at_once * tile;
    let codes = words + at_once;
    let locals = [
        (FIRST - 8, ValType::I32),
        (codes + at_once - FIRST, ValType::V128),
    ];
    let mut function = Function::new(locals);
    let mut body = function.instructions();

    body.v128_const(i128::from_le_bytes([15; 16]))
        .local_set(mask);
    let token = (4 * WORDS) as i32;
    body.local_get(TILES)
        .i32_const(token * tile as i32)
        .i32_mul()
        .local_set(X_STEP);
    body.local_get(PANELS)
        .i32_const(SCALES)
        .i32_mul()
        .local_set(Y_STEP);
    body.loop_(BlockType::Empty);
    body.local_get(TILES).local_set(TILE);
    body.local_get(X_AT).local_set(TILE_X);
    body.local_get(Y_AT).local_set(TILE_Y);
    body.loop_(BlockType::Empty);
    for (from, to) in [
        (CODES_AT, CODE),
        (SCALES_AT, SCALE),
        (OFFSETS_AT, OFFSET),
        (TILE_X, X),
        (BLOCKS, BLOCK),
    ] {
        body.local_get(from).local_set(to);
    }
    zero(&mut body, sums..high);
    body.loop_(BlockType::Empty);
    for first in (0..REGISTERS).step_by(at_once as usize) {
        zero(&mut body, high..words);
        for group in 0..4 {
            for r in 0..at_once {
                let at = (group * REGISTERS + first + r) * 16;
                body.local_get(CODE)
                    .v128_load(at_offset(at))
                    .local_set(words + r);
            }
            for nibble in 0..2 {
                for r in 0..at_once {
                    body.local_get(words + r);
                    if nibble == 1 {
                        body.i32_const(4).i16x8_shr_u();
                    }
                    body.local_get(mask).v128_and().local_set(codes + r);
                }
                for (part, dots) in [(0, high), (8, low)] {
                    for t in 0..tile {
                        let at = 4 * ((part + group * 2 + nibble) * tile + t);
                        body.local_get(X)
                            .v128_load32_splat(at_offset(at))
                            .local_set(x);
                        for r in 0..at_once {
                            let dot = dots + t * at_once + r;
                            // Bytes with a sign times codes of at most seven bits.
                            body.local_get(x).local_get(codes + r).local_get(dot);
                            body.i32x4_relaxed_dot_i8x16_i7x16_add_s().local_set(dot);
                        }
                    }
                }
            }
        }
        for t in 0..tile {
            for r in 0..at_once {
                let (sum, at) = (sums + t * REGISTERS + first + r, t * at_once + r);
                let factor = |n: u32| at_offset(4 * ((16 + n) * tile + t));
                let scale = at_offset((first + r) * 16);
                body.local_get(sum);
                body.local_get(high + at)
                    .i32_const(8)
                    .i32x4_shl()
                    .local_get(low + at)
                    .i32x4_add();
                body.f32x4_convert_i32x4_s();
                body.local_get(SCALE).v128_load(scale);
                body.local_get(X)
                    .v128_load32_splat(factor(0))
                    .f32x4_mul()
                    .f32x4_mul();
                body.local_get(OFFSET).v128_load(scale);
                body.local_get(X).v128_load32_splat(factor(1)).f32x4_mul();
                body.f32x4_add().f32x4_add().local_set(sum);
            }
        }
    }
    for (pointer, step) in [(CODE, CODES), (SCALE, SCALES), (OFFSET, SCALES)] {
        body.local_get(pointer)
            .i32_const(step)
            .i32_add()
            .local_set(pointer);
    }
    body.local_get(X).local_get(X_STEP).i32_add().local_set(X);
    end_loop(&mut body, BLOCK);
    for t in 0..tile {
        for r in 0..REGISTERS {
            body.local_get(TILE_Y)
                .local_get(sums + t * REGISTERS + r)
                .v128_store(at_offset(r * 16));
        }
        body.local_get(TILE_Y)
            .local_get(Y_STEP)
            .i32_add()
            .local_set(TILE_Y);
    }
    body.local_get(TILE_X)
        .i32_const(token * tile as i32)
        .i32_add()
        .local_set(TILE_X);
    end_loop(&mut body, TILE);
    // The next panel begins where this one ended.
    for (from, to) in [(CODE, CODES_AT), (SCALE, SCALES_AT), (OFFSET, OFFSETS_AT)] {
        body.local_get(from).local_set(to);
    }
    body.local_get(Y_AT)
        .i32_const(SCALES)
        .i32_add()
        .local_set(Y_AT);
    end_loop(&mut body, PANELS);
    body.end();
    function
}

/// Sets locals to zero.
fn zero(body: &mut InstructionSink<'_>, locals: std::ops::Range<u32>) {
    for local in locals {
        body.v128_const(0).local_set(local);
    }
}

/// Ends a loop that runs `count` times.
fn end_loop(body: &mut InstructionSink<'_>, count: u32) {
    body.local_get(count)
        .i32_const(1)
        .i32_sub()
        .local_tee(count)
        .br_if(0)
        .end();
}

/// A place in memory, this many bytes after an address.
fn at_offset(offset: u32) -> MemArg {
    MemArg {
        offset: offset.into(),
        align: 2,
        target: MemArgTarget::Memory(0),
        ordering: None,
    }
}
