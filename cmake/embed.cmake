# Script: writes FILE as the sp_page_asset SYMBOL into the C source OUT, packed by GZIP if that names a program.
set(data ${FILE})
set(is_packed false)
if(GZIP)
  set(data ${OUT}.gz)
  execute_process(COMMAND ${GZIP} -9nc ${FILE} OUTPUT_FILE ${data} COMMAND_ERROR_IS_FATAL ANY)
  set(is_packed true)
endif()
file(READ ${data} hex HEX)
file(SHA256 ${data} hash)
string(SUBSTRING ${hash} 0 32 hash)
string(LENGTH "${hex}" length)
math(EXPR length "${length} / 2")
string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
string(REGEX REPLACE "(0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,0x..,)" "\\1\n" bytes "${bytes}")
file(WRITE ${OUT} "/* Made from ${FILE} by cmake/embed.cmake. */
#include \"server/page.h\"

static const unsigned char data[] = {
${bytes}0};

extern const sp_page_asset ${SYMBOL};
const sp_page_asset ${SYMBOL} = {\"${URL}\", \"${TYPE}\", \"\\\"${hash}\\\"\", data, ${length}, ${is_packed}};
")
