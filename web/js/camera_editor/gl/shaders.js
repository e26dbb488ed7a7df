// The two ways of drawing points, in GLSL: the discs of the ego view and the squares of the scene. `splat.js` has the same in
// JavaScript, which is what they are held to.
//
// Rows count downwards, as in a picture's memory. Depth is the logarithm of z: even steps of it are even shares of a distance.

const SHARED = `#version 300 es
precision highp float;
precision highp sampler2D;
layout(location = 0) in vec3 position;
layout(location = 1) in vec4 color;
layout(location = 2) in float reach;
uniform vec3 eye;
uniform vec3 right, down, forward;
uniform vec2 size; // of what is drawn into: the picture and a margin, as points outside it reach in
uniform float margin;
flat out vec4 ink;
const vec4 NOWHERE = vec4(2.0, 2.0, 2.0, 1.0);

vec4 placed(vec2 pixel, float deep) {
  float depth = log2(deep * 1000.0) / log2(1.0e9); // 1 mm to 1000 km
  return vec4(2.0 * (pixel + margin) / size - 1.0, clamp(2.0 * depth - 1.0, -0.9999999, 0.9999999), 1.0);
}
`;

/** Discs: the lens is a table over the directions ahead, (x, y) / (z + length), of column, row and whether it sees them. */
export const DISCS = {
  vertex: `${SHARED}
uniform sampler2D lens;
uniform float radius, near;
uniform int step;
flat out vec3 disc;

void main() {
  gl_Position = NOWHERE;
  gl_PointSize = 1.0;
  vec3 off = position - eye;
  vec3 ray = vec3(dot(right, off), dot(down, off), dot(forward, off));
  float away = length(off);
  if (gl_VertexID % step != 0 || ray.z <= 0.0 || away < near) return;
  int last = textureSize(lens, 0).x - 1;
  vec2 at = (ray.xy / (ray.z + away) * 0.5 + 0.5) * float(last);
  ivec2 cell = clamp(ivec2(floor(at)), ivec2(0), ivec2(last - 1));
  vec2 part = at - vec2(cell);
  vec3 a = texelFetch(lens, cell, 0).xyz, b = texelFetch(lens, cell + ivec2(1, 0), 0).xyz;
  vec3 c = texelFetch(lens, cell + ivec2(0, 1), 0).xyz, d = texelFetch(lens, cell + ivec2(1, 1), 0).xyz;
  if (a.z + b.z + c.z + d.z < 3.5) return;
  vec2 pixel = mix(mix(a.xy, b.xy, part.x), mix(c.xy, d.xy, part.x), part.y);
  float reached = radius * reach;
  gl_Position = placed(pixel, ray.z);
  gl_PointSize = 2.0 * reached + 2.0;
  disc = vec3(pixel + margin, reached);
  ink = color;
}`,
  fragment: `#version 300 es
precision highp float;
flat in vec4 ink;
flat in vec3 disc;
out vec4 painted;
void main() {
  vec2 off = gl_FragCoord.xy - disc.xy;
  if (dot(off, off) > disc.z * disc.z) discard;
  painted = ink;
}`,
};

/** Squares of whole pixels through a pinhole in the middle of the picture. */
export const SQUARES = {
  vertex: `${SHARED}
uniform float focal, spacing, largest;

void main() {
  gl_Position = NOWHERE;
  gl_PointSize = 1.0;
  vec3 off = position - eye;
  float deep = dot(forward, off);
  if (deep < 0.02) return;
  float near = focal / deep;
  float side = min(largest, 1.0 + floor(near * spacing));
  vec2 pixel = near * vec2(dot(right, off), dot(down, off)) + 0.5 * (size - 2.0 * margin);
  gl_Position = placed(floor(pixel - 0.5 * (side - 1.0)) + 0.5 * side, deep);
  gl_PointSize = side;
  ink = color;
}`,
  fragment: `#version 300 es
precision highp float;
flat in vec4 ink;
out vec4 painted;
void main() {
  painted = ink;
}`,
};
