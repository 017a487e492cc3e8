/** Of the link that opened the page, for a private camera; where a frame has no cookies it has to go along. */
const key = new URLSearchParams(location.search).get("key");

/**
 * The address of something beside the page, without the user and password that the page's own may
 * have: browsers refuse to fetch those. Or at another relay (`base`), which never hears of the key.
 */
function address(relative, base = null) {
  const url = new URL(relative, base ?? location.origin + location.pathname);
  if (key !== null && base === null) url.searchParams.set("key", key);
  return url;
}
