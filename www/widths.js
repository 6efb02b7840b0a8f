// The widths at which the page changes. style.css has them too, as media queries cannot share a name;
// a test compares both.

/** One column: the adapters are a sheet. */
export const ONE_COLUMN = "(max-width: 59.99rem)";

/** No room for two texts side by side. */
export const ONE_TEXT = "(max-width: 44rem)";
