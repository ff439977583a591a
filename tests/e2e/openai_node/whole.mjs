// One video from its beginning to its end with the official client, unchanged. Says what it saw as one line of JSON.
import OpenAI, { toFile } from 'openai';
import { readFile } from 'node:fs/promises';
import { createHash } from 'node:crypto';

const [baseURL, picture] = process.argv.slice(2);
const client = new OpenAI({ baseURL, apiKey: 'none', maxRetries: 0 });

let video = await client.videos.create({
  prompt: 'a red ball bounces over a grassy meadow by day',
  model: 'demo',
  seconds: '2',
  size: '96x96',
  seed: 5,
  prompts: [{ at: 1, prompt: 'a purple box sways in the city at night' }],
});
const first = video.status;
const until = Date.now() + 240_000;
while (video.status === 'queued' || video.status === 'in_progress') {
  if (Date.now() > until) throw new Error(`still ${video.status}`);
  await new Promise((resolve) => setTimeout(resolve, 200));
  video = await client.videos.retrieve(video.id);
}
const content = Buffer.from(await (await client.videos.downloadContent(video.id)).arrayBuffer());
const thumbnail = Buffer.from(
  await (await client.videos.downloadContent(video.id, { variant: 'thumbnail' })).arrayBuffer(),
);

const referenced = await client.videos.create({
  prompt: 'a red ball',
  seconds: '2',
  input_reference: await toFile(await readFile(picture), 'picture.png', { type: 'image/png' }),
});
const remixed = await client.videos.remix(video.id, { prompt: 'a blue star bounces in the desert at sunset' });

const listed = [];
for await (const item of client.videos.list({ limit: 1, order: 'asc' })) listed.push(item.id);

let refused = null;
try {
  await client.videos.create({ prompt: 'a red ball', seconds: '0' });
} catch (error) {
  refused = { kind: error.constructor.name, status: error.status, code: error.code, param: error.param };
}
const deleted = await client.videos.delete(referenced.id);
let gone = null;
try {
  await client.videos.retrieve(referenced.id);
} catch (error) {
  gone = { kind: error.constructor.name, code: error.code };
}

console.log(
  JSON.stringify({
    first,
    video,
    sha256: createHash('sha256').update(content).digest('hex'),
    mp4: content.subarray(4, 8).toString('latin1'),
    thumbnail: thumbnail.length,
    referenced: referenced.id,
    remixed: remixed.remixed_from_video_id,
    listed,
    refused,
    deleted,
    gone,
  }),
);
