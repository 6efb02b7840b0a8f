// Every word of the page in German, file by file as in English: ../say.js loads it for those who read it. What
// students read: they are called "du", and the words of the field are as the field has them in German.
import { DOSE } from "./de/dose.js";
import { EMBED } from "./de/embed.js";
import { LESSONS } from "./de/lessons.js";
import { METHOD } from "./de/method.js";
import { METHODS } from "./de/methods.js";
import { PAGE } from "./de/page.js";
import { RUNS } from "./de/runs.js";
import { STORAGE } from "./de/storage.js";
import { TRAIN } from "./de/train.js";
import { ZOO } from "./de/zoo.js";

/** @type {import("../say.js").Table} */
export const DE = {
  ...PAGE, ...DOSE, ...EMBED, ...LESSONS, ...METHOD, ...METHODS, ...RUNS, ...STORAGE, ...TRAIN, ...ZOO,
};
