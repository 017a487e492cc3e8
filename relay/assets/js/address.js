/**
 * The address of something beside the page, without the user and password that the page's own may
 * have: browsers refuse to fetch those.
 */
function address(relative) {
  return new URL(relative, location.origin + location.pathname);
}
