// The peer of `cargo xtask bench thumbnail`: sharp, with one thread and nothing kept between pictures.
// `serve PHOTO THUMBNAIL` answers each line with the nanoseconds that a thumbnail took;
// `prepare PHOTO OUT` makes of a photograph one of 12 megapixels as cameras write them.
import { readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import sharp from 'sharp';

sharp.concurrency(1);
sharp.cache(false);
const [command, photo, out] = process.argv.slice(2);
const bytes = readFileSync(photo);

if (command === 'prepare') {
  await sharp(bytes).resize(4000, 3000, { fit: 'cover' }).jpeg({ quality: 90 }).toFile(out);
} else {
  for await (const _ of createInterface({ input: process.stdin })) {
    const begun = process.hrtime.bigint();
    const made = await sharp(bytes).resize(512, 512, { fit: 'inside' }).jpeg({ quality: 80 }).toBuffer();
    const time = process.hrtime.bigint() - begun;
    writeFileSync(out, made);
    console.log(`${time} 0`);
  }
}
