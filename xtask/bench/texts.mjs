// Sixteen pairs of contrasting texts, of which a vector is made to time that.
const THINGS = ["the morning", "this bridge", "the soup", "our neighbour", "the long road", "his letter", "the new roof", "that song",
  "the winter", "my old bicycle", "the meeting", "her garden", "the last train", "this museum", "the sea", "their answer"];

export const texts = {
  positive: THINGS.map((thing) => `I think about ${thing} with great joy, and everything seems bright and full of hope.`),
  negative: THINGS.map((thing) => `I think about ${thing} with great sorrow, and everything seems dark and without hope.`),
};
