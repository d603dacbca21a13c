// SPDX-License-Identifier: Apache-2.0
// Node.js: loops that V8 compiles while they run, numbers of each kind, text,
// WebAssembly, crypto, processes and workers.
'use strict';
const crypto = require('crypto');
const zlib = require('zlib');
const { execFileSync } = require('child_process');
const { Worker } = require('worker_threads');

let state = 88172645;
function rnd() {
	state ^= state << 13;
	state ^= state >>> 17;
	state ^= state << 5;
	return state >>> 0;
}

function digest(v) {
	const h = crypto.createHash('sha256');
	h.update(typeof v === 'string' || ArrayBuffer.isView(v) ? v : JSON.stringify(v));
	return h.digest('hex').slice(0, 32);
}

function integers() {
	let a = 1;
	for (let i = 0; i < 3000000; i++)
		a = (Math.imul(a, 1664525) + 1013904223 + (a >>> 7)) | 0;
	const sieve = new Uint8Array(200000).fill(1);
	let primes = 0;
	for (let i = 2; i < sieve.length; i++) {
		if (!sieve[i])
			continue;
		primes++;
		for (let k = i * 2; k < sieve.length; k += i)
			sieve[k] = 0;
	}
	return [a, primes];
}

function doubles() {
	let x = 0.3, s = 0;
	for (let i = 0; i < 300000; i++) {
		x = 3.9 * x * (1 - x);
		s += Math.sqrt(x) / (1 + i % 7) - Math.floor(x * 10) % 3;
	}
	const libm = [];
	for (let i = 0; i < 500; i++) {
		const v = (rnd() - 2 ** 31) / 2 ** 28;
		libm.push(Math.sin(v), Math.exp(v), Math.log(Math.abs(v)), Math.atan2(v, 2),
			Math.pow(Math.abs(v), 1.7), Math.cbrt(v), Math.hypot(v, 3), Math.tanh(v),
			Math.fround(v), Math.round(v), Math.trunc(v), v % 1.3);
	}
	return [x, s, digest(libm.map(String)), (0.1).toFixed(20), 1e21 + 1, -0 === 0, NaN | 0,
		2 ** 53 + 1, (123.456).toString(36), parseFloat('1e-320')];
}

function matrices() {
	const n = 64, a = new Float64Array(n * n), b = new Float32Array(n * n);
	const c = new Float64Array(n * n);
	for (let i = 0; i < n * n; i++) {
		a[i] = rnd() / 2 ** 32;
		b[i] = rnd() / 2 ** 32;
	}
	for (let i = 0; i < n; i++)
		for (let j = 0; j < n; j++)
			for (let k = 0; k < n; k++)
				c[i * n + j] += a[i * n + k] * b[k * n + j];
	return digest(new Uint8Array(c.buffer));
}

function bigints() {
	let f = 1n, a = 0n, b = 1n;
	for (let i = 1n; i <= 400n; i++)
		f *= i;
	for (let i = 0; i < 2000; i++)
		[a, b] = [b, a + b];
	return [digest(f.toString()), digest(a.toString(16)), (f / (a * a) % 1000000007n).toString(),
		BigInt.asIntN(64, f * 7n - a).toString(), ((-7n) ** 33n >> 5n).toString()];
}

function texts() {
	const words = Array.from({ length: 5000 }, () => rnd().toString(36));
	const text = words.join(' ');
	return [(text.match(/\b(\w)\w*\1\b/g) || []).length, digest(text.replace(/(\d)(\D)/g, '$2$1')),
		digest(text.split(/[aeiou]+/)), /^(?:(?<y>\d{4})-(?<m>\d\d))+$/.exec('2026-11').groups.m,
		digest(words.sort()), digest([...text].map((c) => c.codePointAt(0) ^ 5)),
		'straße'.toUpperCase(), 'e\u0301'.normalize('NFC').length, [3, 1, 2].sort().join(),
		text.lastIndexOf('zz'), encodeURIComponent('a b&ü')];
}

class Shape {
	constructor(r) { this.r = r; }
	area() { return this.r * this.r; }
}
class Circle extends Shape {
	area() { return super.area() * 3; }
}

function* counter(n) {
	for (let i = 0; i < n; i++)
		yield i;
}

function objects() {
	const shapes = [], map = new Map(), set = new Set();
	for (let i = 0; i < 20000; i++) {
		shapes.push(i % 3 ? new Circle(i % 50) : i % 2 ? new Shape(i % 20) : { area: () => i });
		map.set('k' + i % 977, (map.get('k' + i % 977) || 0) + i);
		set.add(rnd() % 3000);
	}
	let caught = 0, sum = 0;
	for (let i = 0; i < 3000; i++) {
		try {
			if (i % 3 === 0)
				null.x;
			if (i % 5 === 0)
				throw new RangeError(String(i));
		} catch (e) {
			caught += e instanceof TypeError ? 1 : Number(e.message);
		}
	}
	for (const i of counter(10000))
		sum += i;
	const json = JSON.stringify(shapes.slice(0, 3000).map((s, i) => ({ i, a: s.area(), n: null })));
	return [shapes.reduce((t, s) => t + s.area(), 0), map.get('k77'), set.size, caught, sum,
		digest(json), JSON.parse(json).length];
}

// (func (export "f") (param i32) (result i32): a loop of x = x * 31 ^ n
function wasm() {
	const code = new Uint8Array([
		0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0,
		1, 6, 1, 0x60, 1, 0x7f, 1, 0x7f,
		3, 2, 1, 0,
		7, 5, 1, 1, 0x66, 0, 0,
		10, 0, 1, 0, 1, 1, 0x7f,		// two lengths, filled in below
		0x41, 1, 0x21, 1,			// x = 1
		0x03, 0x40,				// loop
		0x20, 1, 0x41, 31, 0x6c, 0x20, 0, 0x73, 0x21, 1,
		0x20, 0, 0x41, 1, 0x6b, 0x22, 0, 0x0d, 0,	// while (--n)
		0x0b, 0x20, 1, 0x0b]);
	code[28] = code.length - 29;
	code[30] = code.length - 31;
	const f = new WebAssembly.Instance(new WebAssembly.Module(code)).exports.f;
	return [f(5), f(1000000)];
}

function libraries() {
	const data = Buffer.from(Array.from({ length: 30000 }, (_, i) => (i * i) >> 5 & 0x7f));
	const c = crypto.createCipheriv('aes-256-gcm', Buffer.alloc(32, 7), Buffer.alloc(12, 3));
	const sealed = Buffer.concat([c.update(data), c.final(), c.getAuthTag()]);
	return [digest(zlib.deflateSync(data)), digest(zlib.brotliCompressSync(data)), digest(sealed),
		zlib.gunzipSync(zlib.gzipSync(data)).equals(data),
		crypto.pbkdf2Sync('a', 'b', 300, 20, 'sha512').toString('hex'),
		execFileSync('sh', ['-c', 'echo from a child']).toString(),
		data.readDoubleBE(11), data.toString('base64').length];
}

function worker() {
	return new Promise((resolve, reject) => {
		const w = new Worker(`
			const { parentPort, workerData } = require('worker_threads');
			const v = new Int32Array(workerData);
			for (let i = 0; i < 1000; i++)
				Atomics.add(v, 0, i);
			parentPort.postMessage(v[0]);`,
		{ eval: true, workerData: new SharedArrayBuffer(64) });
		w.on('message', resolve);
		w.on('error', reject);
	});
}

(async () => {
	for (const f of [integers, doubles, matrices, bigints, texts, objects, wasm, libraries,
		worker])
		console.log(f.name, JSON.stringify(await f()));
	const ticks = [];
	await Promise.all([30, 10, 20].map((ms) => new Promise((r) => setTimeout(() => {
		ticks.push(ms);
		r();
	}, ms * 10))));
	console.log('timers', ticks.join());
})();
